"""Sounds from a policy, by the pipeline it belongs to: the real one, around the policy's own weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.families.base import AudioFamily, AudioGeometry, SamplingRequest
from modalign.modalities.diffusion.sampling import (
    SamplingOptions,
    is_number,
    own_precision,
    pipeline_around,
    sampled,
)
from modalign.modalities.modes import unwrapped


@dataclass(frozen=True)
class AudioSamplingOptions(SamplingOptions):
    """How sounds are drawn.

    Args:
        seconds: How long each is; None for the window of training.
    """

    seconds: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds is not None and not (is_number(self.seconds) and 0 < self.seconds < float("inf")):
            raise UserError(f"Sampling: seconds is {self.seconds!r}.", "Give a number above 0.")


def sample_clips(
    family: AudioFamily,
    denoiser: nn.Module,
    prompts: Sequence[str],
    n: int,
    seed: int,
    geometry: AudioGeometry,
    seconds: float,
    options: AudioSamplingOptions,
) -> list[list[Clip]]:
    """`n` clips for each prompt.

    Args:
        family: The frozen parts, on the denoiser's device.
        denoiser: A policy; its modes and gradient flags are as before afterwards.
        prompts: The same ones give the same clips.
        n: Clips a prompt.
        seed: Another seed, other clips.
        geometry: Which lengths the model takes.
        seconds: Of training.
        options: How clips are drawn.

    Raises:
        UserError: An option does not fit the model, or a prompt is no text.
    """
    seconds = options.seconds or seconds
    geometry.check("Sampling: seconds", seconds)
    family.check_request(seconds, options.guidance_scale, options.negative_prompt)
    inner = unwrapped(denoiser)
    pipeline = pipeline_around(family, inner)

    def make(batch: list[str], sources: list[torch.Generator]) -> list[Clip]:
        request = SamplingRequest(
            batch, options.negative_prompt, seconds, options.steps, options.guidance_scale, sources
        )
        waveforms = family.call(pipeline, request).detach().float().cpu()
        return [finite_clip(waveform, geometry.rate, seconds) for waveform in waveforms]

    with own_precision(inner):
        return sampled(denoiser, prompts, n, seed, options.batch_size, make)


def finite_clip(waveform: Tensor, rate: int, seconds: float) -> Clip:
    """A clip of no more than the length that was asked for, whole latent frames being longer; finite."""
    samples = waveform[:, : max(round(seconds * rate), 1)].contiguous()
    if not bool(torch.isfinite(samples).all()):
        rank_zero_warn(
            "a sampled clip holds NaN or infinite samples, which became silence: the policy has diverged, or its "
            "dtype overflows (modality.dtype, modality.encoder_dtype)"
        )
        samples = samples.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return Clip(samples, rate)
