"""What every family's network is asked to predict, and when, is what its pipeline takes its answers for."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modalign.core.keys import generator
from modalign.modalities.audio.families.base import AudioFamily, SamplingRequest
from modalign.modalities.audio.modality import Audio
from tests.modalities.audio.families.test_mel_latents import plain
from tests.modalities.audio.families.test_waveform_latents import ROWS, seconds_of

NAMES = ("tango", "audioldm2", "stable_audio", "stable_audio_3", "longcat_audio", "tangoflux", "ace_step")


class Omniscient:
    """In a denoiser's place: it knows the clean latents, and answers what training asks about what it is shown.

    Attributes:
        noises: The noise in what it was shown, by call.
    """

    def __init__(self, family: AudioFamily, clean: Tensor, parameters: list[str]) -> None:
        self.clean, self.parameters = clean, parameters
        self.noises: list[Tensor] = []
        position = torch.linspace(0, 1 - 1e-6, 5001, dtype=torch.float64)
        # What is corrupted, and the target, are sums of the clean data and the noise: these are their factors.
        data, noise = torch.eye(2, dtype=torch.float64)[:, None].expand(2, 5001, 2)
        asked = family.corrupt(data, noise, position)
        order = asked.time.argsort()
        self.times, self.course = asked.time[order], torch.cat([asked.noisy, asked.target], 1)[order]

    def __call__(self, *given: Any, **options: Any) -> Any:
        from diffusers.models.modeling_outputs import Transformer2DModelOutput

        told = dict(zip(self.parameters, given, strict=False)) | options
        noisy = told["sample"] if "sample" in told else told["hidden_states"]
        time = float(torch.as_tensor(told["timestep"]).reshape(-1)[0])
        signal, level, clean, noise = (float(np.interp(time, self.times, factor)) for factor in self.course.T)
        self.noises.append((noisy - signal * self.clean) / level)
        return Transformer2DModelOutput(sample=clean * self.clean + noise * self.noises[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_error_leads_to_the_clean_sound(
    audio_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By the pipeline's own steps: finds a wrong sign, scale or time of the target."""
    mel = name in ("tango", "audioldm2")
    folder = audio_folder(f"{'mel' if mel else 'waveform'}.{name}")
    modality = Audio(str(folder), seconds=None if mel else seconds_of(name), cache="off")
    family, geometry, pipeline = modality.family, modality.geometry, plain(folder)
    assert isinstance(family, AudioFamily)
    if mel:
        pipeline.scheduler.final_alpha_cumprod = torch.tensor(1.0)  # its last step would leave some noise
    frames, denoiser = geometry.frames(modality.seconds), getattr(pipeline, family.denoiser_part)
    shape = (4, frames, geometry.numbers // 4) if mel else (frames, 8) if name in ROWS else (8, frames)
    clean = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))

    network, latents = Omniscient(family, clean, list(inspect.signature(denoiser.forward).parameters)), []
    step = pipeline.scheduler.step

    def recorded(*given: Any, **options: Any) -> Any:
        made = step(*given, **options)
        latents.append(made[0])
        return made

    monkeypatch.setattr(denoiser, "forward", network)
    monkeypatch.setattr(pipeline.scheduler, "step", recorded)
    with torch.no_grad():
        family.call(pipeline, SamplingRequest(["a cat"], "", modality.seconds, 4, 1.0, [generator(7)]))
    assert len(latents) == len(network.noises) == 4
    torch.testing.assert_close(latents[-1], clean, rtol=0, atol=1e-4)
    # Standard normal: what it is shown is as noisy as training has it at that time.
    assert all(0.8 < float(noise.std()) < 1.25 for noise in network.noises[1:])
