"""Stable Audio's autoencoder of waveforms, which other models have too."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor


def hop_of(config: Mapping[str, Any]) -> int:
    """How many samples make one latent frame of an `AutoencoderOobleck`."""
    return prod(int(ratio) for ratio in config["downsampling_ratios"])


def encoded(vae: Any, media: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of latents, which are not scaled.

    Args:
        vae: An `AutoencoderOobleck`.
        media: `(N, channels, samples)`.

    Returns:
        `(N, C, frames)` each, in float32 at least.
    """
    distribution = vae.encode(media.to(vae.dtype)).latent_dist
    wide = torch.promote_types(vae.dtype, torch.float32)
    return distribution.mean.to(wide), distribution.std.to(wide)


def decoded(vae: Any, latents: Tensor) -> Tensor:
    """`(N, channels, samples)` waveforms of `(N, C, frames)` latents."""
    waveforms: Tensor = vae.decode(latents.to(vae.dtype)).sample
    return waveforms
