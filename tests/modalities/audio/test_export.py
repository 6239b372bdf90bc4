"""Exported folders and adapters, loaded by plain diffusers and peft, sound as the policy does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.modalities.audio.families.base import AudioFamily, SamplingRequest
from modalign.modalities.audio.modality import Audio
from modalign.modalities.lora import Lora
from tests.modalities.audio.families.test_waveform_latents import seconds_of

MakeAudio = Callable[..., Audio]
PROMPT = "a low tone then noise"
OWN, PLAIN = "waveform.tangoflux", "mel.audioldm2"
"""A pipeline of modalign's own, and one of diffusers'; neither reads LoRA files."""
FAMILIES = (
    *("mel.tango", PLAIN, "waveform.stable_audio", "waveform.stable_audio_3"),
    *("waveform.longcat_audio", OWN, "waveform.ace_step"),
)


def disturb(policy: nn.Module, size: float = 0.1) -> None:
    """Other weights, so that an export of the base would be seen."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(
                    size * parameter.std().nan_to_num().clamp(min=0.1) * torch.randn(parameter.shape, generator=source)
                )


def mine(modality: Audio, policy: nn.Module) -> Tensor:
    ((clip,),) = modality.sample(policy, [PROMPT], seed=7, steps=2)
    return clip.samples


def plain(folder: Path) -> Any:
    """As a reader of the card would load it."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def played(modality: Audio, pipeline: Any) -> Tensor:
    family = modality.family
    assert isinstance(family, AudioFamily)
    getattr(pipeline, family.denoiser_part).eval()
    request = SamplingRequest([PROMPT], "", modality.seconds, 2, None, [generator(7, "sample", PROMPT, 0)])
    with torch.no_grad():
        (waveform,) = family.call(pipeline, request)
    return waveform[:, : round(modality.seconds * modality.geometry.rate)]


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=3e-5 * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("name", [OWN, PLAIN])
def test_a_full_pipeline(audio: MakeAudio, name: str, tmp_path: Path) -> None:
    modality = audio(name)
    policy = modality.load()
    before = mine(modality, policy)
    disturb(policy)
    modality.export(policy, tmp_path / "out", "# The card\n")
    assert policy.training
    expected = mine(modality, policy)
    assert (expected - before).abs().max() > 1e-3 * before.abs().max()
    same(played(modality, plain(tmp_path / "out")), expected)
    written = (tmp_path / "out" / "README.md").read_text()
    assert written.startswith("# The card\n")
    assert ("from_pretrained(folder, trust_remote_code=True)" in written) == (name == OWN)
    again = Audio(str(tmp_path / "out"), cache="off")
    same(mine(again, again.load()), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_adapter_off_merged_and_alone(audio: MakeAudio, name: str, tmp_path: Path) -> None:
    seconds = None if name.startswith("mel.") else seconds_of(name.removeprefix("waveform."))
    modality = audio(name, seconds=seconds, lora=Lora(r=2, alpha=8))
    policy: Any = modality.load()
    denoiser = audio(name, seconds=seconds).load()
    base = mine(modality, denoiser)
    disturb(policy, 10.0 if name == "waveform.stable_audio_3" else 1.0)  # little of its attention gets through
    expected = mine(modality, policy)
    assert (expected - base).abs().max() > 1e-3 * base.abs().max()
    with modality.adapter_off(policy):
        assert torch.equal(mine(modality, policy), base)

    modality.export(policy, tmp_path / "merged", "card")
    pipeline, part = plain(tmp_path / "merged"), type(modality.family).denoiser_part
    same(played(modality, pipeline), expected)

    setattr(pipeline, part, denoiser)
    modality.export(policy, tmp_path / "adapter", "# The card\n", merge=False)
    load_adapter(pipeline, part, tmp_path / "adapter", modality.library({"merge": False}))
    same(played(modality, pipeline), expected)


def load_adapter(pipeline: Any, part: str, folder: Path, library: str) -> None:
    """As the card says."""
    from peft import PeftModel

    files = {entry.name for entry in folder.iterdir()}
    if library == "diffusers":
        assert files == {"README.md", "pytorch_lora_weights.safetensors"}
        pipeline.load_lora_weights(folder)
        return
    assert files == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    exec(code, {"pipeline": pipeline, "folder": str(folder)})
    assert not isinstance(getattr(pipeline, part), PeftModel)


def test_modules_trained_in_full_go_with_the_adapter(audio: MakeAudio, tmp_path: Path) -> None:
    modality = audio(OWN, lora=Lora(r=2, modules_to_save=["proj_out"]))
    policy = modality.load()
    disturb(policy, 0.5)
    modality.export(policy, tmp_path / "adapter", "card", merge=False)
    from peft import PeftModel

    denoiser = audio(OWN).load()
    loaded = PeftModel.from_pretrained(denoiser, tmp_path / "adapter").merge_and_unload()
    same(mine(audio(OWN), loaded), mine(modality, policy))


def test_options_that_do_nothing_are_refused(audio: MakeAudio, tmp_path: Path) -> None:
    modality = audio(OWN)
    policy = modality.load()
    with pytest.raises(UserError, match="this policy has none"):
        modality.export(policy, tmp_path / "out", "card", merge=False)
    with pytest.raises(UserError, match="Exporting sounds has no option 'merged'"):
        modality.export(policy, tmp_path / "out", "card", merged=True)
    assert modality.library({}) == "diffusers"
    assert list(tmp_path.iterdir()) == []
