"""A sound behind noise."""

from math import isfinite
from typing import ClassVar

import torch

from modalign.core.errors import ConfigError
from modalign.core.keys import generator, run_seed
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.variants.base import SampleVariant


class Noised(SampleVariant):
    """White Gaussian noise added to the sound, the sound's power as many decibels above the noise's as is asked for.

    All channels of a sound get noise of their own, of one power. Silence stays silence. A sound's noise is the same in
    every epoch.

    Args:
        snr: Decibels by which the sound is louder than the noise, any number; below 0 the noise is louder.

    Raises:
        ConfigError: It is not finite.
    """

    name: ClassVar[str] = "noised"

    def __init__(self, snr: float = 0.0) -> None:
        if not isfinite(snr):
            raise ConfigError(f"The audio variant noised has snr {snr}.", "Give a finite number of decibels.")
        self.snr = snr

    def alter(self, clip: Clip, key: str) -> Clip:
        """See `SampleVariant.alter`."""
        power = clip.samples.double().square().mean() / 10 ** (self.snr / 10)
        noise = torch.randn(clip.samples.shape, generator=generator(run_seed(), self.name, key))
        return Clip(clip.samples + power.sqrt().float() * noise, clip.rate)
