"""A family of a stranger's package, the worked example of CONTRIBUTING.md: its time runs from noise to data."""

from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora
from modalign.plugins import manager
from tests import tiny_pipelines
from tests.modalities.image.test_training import losses

ROOT = Path(__file__).parents[4]
PACKAGE = ROOT / "tests" / "third_party"
SIDE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `Lumina2Pipeline`: Gemma 2, and a VAE of factor 8, which the pipeline takes for granted."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    torch.manual_seed(4)
    tokenizer = tiny_pipelines.t5_tokenizer()
    text = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformer = Lumina2Transformer2DModel(
        sample_size=SIDE // 8,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        axes_dim_rope=(4, 4, 4),
        axes_lens=(300, 16, 16),
        cap_feat_dim=32,
    )
    vae = AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )
    target = tmp_path_factory.mktemp("pipelines") / "lumina2"
    Lumina2Pipeline(
        transformer, FlowMatchEulerDiscreteScheduler(shift=6.0), vae, Gemma2Model(text).eval(), tokenizer
    ).save_pretrained(target)
    return target


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's plugin, as if pip had installed it."""
    monkeypatch.syspath_prepend(PACKAGE)
    import modalign_vowels.plugin  # type: ignore[import-not-found]

    found = manager.discover({"vowels": modalign_vowels.plugin})
    monkeypatch.setattr(manager, "registry", lambda: found)


def test_it_learns(folder: Path, tmp_path: Path) -> None:
    first, second = losses(Image(str(folder), cache="off", lora=Lora(r=4), draw_cycle=1), tmp_path, "32-true", lr=0.1)
    assert first == pytest.approx(0.6931472, abs=1e-6)
    assert second < first


def test_it_samples(folder: Path) -> None:
    modality = Image(str(folder))
    (picture,), (other,) = modality.sample(modality.load(), ["a cat", "a dog"], steps=2, guidance_scale=2.0)
    assert picture.size == other.size == (SIDE, SIDE)


def test_sampling_with_the_asked_for_answer_leads_to_the_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign and time are the pipeline's own: a network that answers as training asks takes it to the clean data."""
    from diffusers import Lumina2Pipeline

    pipeline = Lumina2Pipeline.from_pretrained(folder)
    family = Image(str(folder), cache="off").family
    clean, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    told = []

    def answer(hidden_states: torch.Tensor, timestep: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor]:
        level = 1 - timestep.item()
        told.append(level)
        torch.testing.assert_close(hidden_states, (1 - level) * clean + level * noise, atol=1e-4, rtol=0)
        return (family.corrupt(clean, noise, torch.tensor([0.5])).target,)

    monkeypatch.setattr(pipeline.transformer, "forward", answer)
    text = family.encode_prompts(["a cat"])
    options = {"height": SIDE, "width": SIDE, "guidance_scale": 1.0, "num_inference_steps": 4, "output_type": "latent"}
    found = pipeline(**text, latents=noise, **options).images
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=0)
    corrupted = family.corrupt(clean, noise, torch.tensor([0.999], dtype=torch.float64))
    assert corrupted.time.item() == pytest.approx(1 - told[0], abs=1e-6)
    assert corrupted.noise_level.item() == pytest.approx(told[0], abs=1e-6)


def test_the_guide_shows_it() -> None:
    code = (PACKAGE / "modalign_vowels" / "family.py").read_text()
    shown = code[code.index("class TowardsData") :]
    assert f"```python\n{shown}```" in (ROOT / "CONTRIBUTING.md").read_text()
