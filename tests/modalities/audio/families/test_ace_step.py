"""ACE-Step: what only this family does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.modalities.audio.families.ace_step import AceStep
from modalign.modalities.audio.families.base import SamplingRequest
from modalign.modalities.audio.modality import Audio
from modalign.modalities.diffusion.sampling import pipeline_around
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.modalities.audio.families.test_mel_latents import comparison, plain
from tests.modalities.audio.families.test_published_shapes import OOBLECK, source
from tests.modalities.audio.families.test_waveform_latents import seconds_of
from tests.modalities.audio.test_export import mine, same

Folder = Callable[[str], Path]
SECONDS = seconds_of("ace_step")
PROMPT = "two dogs in the dark house"


@dataclass
class Tiny:
    """A tiny model as modalign and as plain diffusers load it."""

    modality: Audio
    family: AceStep
    policy: nn.Module
    pipeline: Any


def made(folder: Path, **options: Any) -> Audio:
    return Audio(str(folder), **{"seconds": SECONDS, "cache": "off", **options})


@pytest.fixture(scope="module")
def tiny(audio_folder: Folder) -> Tiny:
    """Loaded once, and not changed."""
    folder = audio_folder("waveform.ace_step")
    modality = made(folder)
    assert isinstance(modality.family, AceStep)
    return Tiny(modality, modality.family, modality.load().eval(), plain(folder))


def test_published_shapes(tmp_path: Path) -> None:
    vae = {**OOBLECK, "downsampling_ratios": [2, 4, 4, 6, 10], "sampling_rate": 48000}
    configs = {"transformer": {"audio_acoustic_hidden_dim": 64}, "vae": vae}
    geometry = AceStep.geometry(source(tmp_path, configs))
    assert (geometry.rate, geometry.channels, geometry.frames(60.0), geometry.latents(60.0)) == (48000, 2, 1500, 96000)
    assert geometry.samples(60.0) == 60 * 48000


def test_prompts_tell_how_long_the_window_is(audio_folder: Folder, tmp_path: Path) -> None:
    """In whole seconds; another window has encodings of its own."""
    kept = {"cache": "disk", "cache_folder": str(tmp_path)}
    first, other = (made(audio_folder("waveform.ace_step"), seconds=seconds, **kept) for seconds in (SECONDS, 1.99))
    assert first.geometry.samples(SECONDS) == other.geometry.samples(1.99)
    with torch.no_grad():
        told, otherwise = (each.family.encode_prompts([PROMPT])["prompt_embeds"] for each in (first, other))
    assert not torch.equal(told, otherwise)
    assert first.fingerprint() != other.fingerprint()
    first.prepare([comparison(PROMPT, 0)], torch.device("cpu"))
    assert first.cache is not None
    assert other.cache is not None
    assert first.cache.has_prompt(PROMPT)
    assert not other.cache.has_prompt(PROMPT)


def test_a_length_that_the_pipeline_counts_in_two_ways(tiny: Tiny) -> None:
    pipeline = pipeline_around(tiny.family, tiny.policy)
    pipeline.latents_per_second = 25.0  # the published models'
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        pipeline(PROMPT, audio_duration=2.2, num_inference_steps=1)
    request = SamplingRequest([PROMPT], "", 2.2, 1, 1.0, [generator(7)])
    assert tiny.family.call(pipeline, request).shape == (1, 2, 56 * 64)


def test_a_turbo_model_samples_without_guidance(tiny: Tiny, audio_folder: Folder) -> None:
    turbo = made(audio_folder("waveform.ace_step_turbo"))
    policy = turbo.load()
    ((clip,),) = turbo.sample(policy, [PROMPT], seed=7, steps=2)
    ((unguided,),) = tiny.modality.sample(tiny.policy, [PROMPT], seed=7, steps=2, guidance_scale=1.0)
    same(clip.samples, unguided.samples)
    assert (mine(tiny.modality, tiny.policy) - mine(turbo, policy)).abs().max() > 1e-3
    with pytest.raises(UserError, match=r"guidance_scale is 2\.0, and this turbo model samples without guidance"):
        turbo.sample(policy, [PROMPT], guidance_scale=2.0)


def test_the_times_that_the_readme_names_are_a_turbo_models() -> None:
    from diffusers import AceStepPipeline

    values = [299, 499, 642, 749, 833, 899, 954, 999]
    readme = Path(__file__).parents[4] / "README.md"
    assert f"{{distribution: fixed, values: {values}}}" in readme.read_text(encoding="utf-8")
    Timesteps("fixed", values=values).check(1000)
    steps = AceStepPipeline._get_timestep_schedule(None, 8, 3.0).flip(0)
    torch.testing.assert_close((torch.tensor(values) + 0.5) / 1000, steps, rtol=0, atol=1e-3)


def test_a_negative_prompt_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match="negative_prompt is given, and ACE-Step takes none"):
        tiny.modality.sample(tiny.policy, [PROMPT], negative_prompt="a cat", guidance_scale=3.0)
