"""Options act or are refused before anything is loaded, and whatever changes an error changes the fingerprint."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.batch import CHOSEN, Candidate, Comparison
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.image.modality import Image
from tests import tiny_pipelines
from tests.modalities.image.pictures import batch_of, picture

MakeImage = Callable[..., Image]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": "centre"}, "crop is 'centre'.*'center'"),
        ({"crop": "random", "cache": "disk"}, "Set modality.cache: off"),
        ({"caption_dropout": 1.0}, "caption_dropout is 1.0"),
        ({"draw_cycle": 0}, "draw_cycle is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"weighting": "snr"}, "weighting is 'snr'.*'min_snr'"),
        ({"min_snr_gamma": 0.0}, "min_snr_gamma is 0.0"),
        ({"resolution": 0}, "resolution is 0"),
        ({"family": "sdxl"}, "no family is called 'sdxl'"),
    ],
)
def test_mistakes_are_told_before_anything_is_looked_at(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"(?s){message}"):
        Image("there/is/no/such/model", **options)


def test_the_resolution_is_the_denoisers_own_unless_given(
    pipeline_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    assert Image(str(pipeline_folder("stable_diffusion"))).resolution == 16
    assert Image(str(pipeline_folder("stable_diffusion_pixels"))).resolution == 8
    assert Image(str(pipeline_folder("flux"))).resolution == 256  # 128 latents, as FluxPipeline makes
    given = Image(str(pipeline_folder("stable_diffusion")), resolution=32)
    assert given.resolution == 32
    assert given.latent_sizes == {"32x32": 4 * 16 * 16, "64x64": 4 * 32 * 32}
    large = Image(str(tiny_pipelines.stable_diffusion(tmp_path / "large", sample_size=12)))
    assert large.resolution == 24


@pytest.mark.parametrize(
    ("name", "resolution", "cure"),
    [
        ("stable_diffusion", 17, "Give 16 or 18"),
        ("flux", 18, "Give 16 or 20"),
        ("stable_diffusion_3", 68, "at most 64"),
    ],
)
def test_a_resolution_that_the_model_does_not_take(image: MakeImage, name: str, resolution: int, cure: str) -> None:
    with pytest.raises(ConfigError, match=cure):
        image(name, resolution=resolution).load()


def test_a_row_needs_a_prompt_that_is_text(image: MakeImage) -> None:
    comparison = Comparison([{"role": "user"}], (Candidate(picture(0), CHOSEN),))
    with pytest.raises(RowError, match="the prompt is not text"):
        image().encode(comparison)


CHANGES: list[dict[str, Any]] = [
    {"resolution": 32},
    {"flip": True},
    {"crop": "random"},
    {"caption_dropout": 0.1},
    {"sample_posterior": False},
    {"draws": 2},
    {"weighting": "min_snr"},
    {"weighting": "min_snr", "min_snr_gamma": 4.0},
    {"timesteps": Timesteps("fixed", values=[5])},
    {"dtype": "bfloat16"},
    {"encoder_dtype": "bfloat16"},
    {"cache_dtype": "float32"},
]


def test_the_fingerprint_knows_every_option_that_changes_an_error(image: MakeImage) -> None:
    known = {image(**change).fingerprint() for change in [{}, *CHANGES]}
    assert len(known) == len(CHANGES) + 1
    assert image().fingerprint() == image().fingerprint()
    assert image(gradient_checkpointing=True).fingerprint() == image().fingerprint()
    assert image("flux", guidance=1.0).fingerprint() != image("flux", guidance=2.0).fingerprint()


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer", "scheduler"])
def test_the_fingerprint_knows_the_frozen_parts(
    pipeline_folder: Callable[[str], Path], tmp_path: Path, part: str
) -> None:
    from diffusers import StableDiffusionPipeline

    source = pipeline_folder("stable_diffusion")
    pipeline = StableDiffusionPipeline.from_pretrained(source)
    if part == "tokenizer":
        pipeline.tokenizer.model_max_length = 12
    elif part == "scheduler":
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, beta_end=0.02)
    else:
        with torch.no_grad():
            next(getattr(pipeline, part).parameters()).add_(1e-3)
    pipeline.save_pretrained(tmp_path / "changed")
    assert Image(str(tmp_path / "changed")).fingerprint() != Image(str(source)).fingerprint()


@pytest.mark.parametrize(
    ("name", "file", "option", "value"),
    [
        ("stable_diffusion_xl", "model_index.json", "force_zeros_for_empty_prompt", False),
        ("stable_diffusion", "unet/config.json", "flip_sin_to_cos", False),
        ("stable_diffusion", "vae/config.json", "scaling_factor", 0.25),
    ],
)
def test_the_fingerprint_knows_what_is_read_of_configurations(
    pipeline_folder: Callable[[str], Path], tmp_path: Path, name: str, file: str, option: str, value: Any
) -> None:
    model = Path(shutil.copytree(pipeline_folder(name), tmp_path / "model"))
    before = Image(str(model)).fingerprint()
    config = json.loads((model / file).read_text())
    assert config.get(option) != value
    (model / file).write_text(json.dumps({**config, option: value}))
    assert Image(str(model)).fingerprint() != before


@pytest.mark.parametrize(
    "version",
    [
        "modalign.modalities.diffusion.modality.LIKELIHOOD_VERSION",
        "modalign.modalities.diffusion.modality.RECORD_VERSION",
        "modalign.modalities.image.modality.DECODING_VERSION",
    ],
)
def test_the_fingerprint_knows_the_versions_of_our_own_code(
    image: MakeImage, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    before = image().fingerprint()
    monkeypatch.setattr(version, 99)
    assert image().fingerprint() != before


def test_the_fingerprint_does_not_depend_on_the_denoiser_or_the_folder(image: MakeImage, tmp_path: Path) -> None:
    modality = image()
    policy = modality.load()
    with torch.no_grad():
        next(policy.parameters()).add_(1.0)
    modality.export(policy, tmp_path / "moved", "card")
    assert Image(str(tmp_path / "moved"), resolution=16, cache="off").fingerprint() == modality.fingerprint()


def test_a_likelihood_does_not_depend_on_how_the_batch_is_split(image: MakeImage) -> None:
    from tests.modalities.image.pictures import pairs

    modality = image(flip=True, caption_dropout=0.5, draws=2)
    policy = modality.load()
    examples = [modality.encode(comparison) for comparison in pairs(4)]
    with torch.no_grad():
        whole = modality.likelihood(policy, modality.collate(examples, range(4), 3), Needs()).logps
        ones = [
            modality.likelihood(policy, modality.collate([example], [row], 3), Needs()).logps
            for row, example in enumerate(examples)
        ]
        later = modality.likelihood(policy, modality.collate(examples, range(4), 4), Needs()).logps
    torch.testing.assert_close(torch.cat(ones), whole, rtol=1e-5, atol=0)
    assert (later != whole).all()


def test_draws_repeat_after_their_cycle(image: MakeImage) -> None:
    modality = image(draw_cycle=2, flip=True)
    policy = modality.load()
    with torch.no_grad():
        first, second, third = (
            modality.likelihood(policy, batch_of(modality, epoch=e), Needs()).logps for e in range(3)
        )
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_what_is_not_computed_is_refused(image: MakeImage) -> None:
    modality = image()
    with pytest.raises(ConfigError, match="cannot compute 'entropy'"):
        modality.likelihood(modality.load(), batch_of(modality), Needs(extra=frozenset({"entropy"})))
