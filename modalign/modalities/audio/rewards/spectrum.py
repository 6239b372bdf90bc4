"""Rewards that look at the mean spectrum of a sound."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from modalign.core.errors import ConfigError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.heard import Samples, SoundReward, mono
from modalign.modalities.audio.rewards.spectra import flatness, spectrogram

_SILENT = 1e-12
"""Mean square of -120 dBFS: what is softer has no spectrum."""


class _OfSpectrum(SoundReward):
    """Measures the power spectrum, the mean over Hann-windowed frames of 64 ms of all channels mixed to one (Welch's).

    Silence, and what is not heard, measures 0.

    Args:
        target: What the measure should be: the reward is minus the distance from it. The measure itself where it is
            left out.

    Raises:
        ConfigError: The target cannot be measured.
    """

    most: ClassVar[float] = np.inf

    def __init__(self, target: float | None = None) -> None:
        if target is not None and not 0 <= target <= self.most:
            raise ConfigError(f"{self.name}: target is {target}.", f"Give at least 0 and at most {self.most:g}.")
        self.target = target

    def judge(self, prompt: Any, clip: Clip) -> float:
        found = spectrogram(mono(clip), clip.rate, length=0.064, hop=0.032)
        power: Samples = found.power.mean(axis=0)
        heard = power.sum() > _SILENT
        return self._near(self._measure(found.frequencies, power) if heard else 0.0)

    def unheard(self, prompt: Any) -> float:
        return self._near(0.0)

    def _near(self, value: float) -> float:
        return value if self.target is None else -abs(value - self.target)

    @abstractmethod
    def _measure(self, frequencies: Samples, power: Samples) -> float:
        """The measure of a spectrum that is not silent: both `(bins,)`, the first is 0 hertz."""


class SpectralCentroid(_OfSpectrum):
    """Brightness: the mean frequency in hertz, each weighted by its power; or minus its distance from a target.

    Silence, and what is not heard, has 0.

    Args:
        target: In hertz; the reward is the centroid itself where it is left out.

    Raises:
        ConfigError: The target is negative.
    """

    name: ClassVar[str] = "spectral_centroid"

    def _measure(self, frequencies: Samples, power: Samples) -> float:
        return float((frequencies * power).sum() / power.sum())


class SpectralFlatness(_OfSpectrum):
    """Geometric by arithmetic mean of the power spectrum above 0 hertz: 1 for white noise, 0 for tones and silence.

    White noise reaches 1 as the sound gets longer: 0.56 in the 64 ms of a single frame, 0.95 in a second.

    Args:
        target: From 0 to 1; the reward is minus the distance from it, or the flatness itself where it is left out.

    Raises:
        ConfigError: The target is out of range.
    """

    name: ClassVar[str] = "spectral_flatness"
    most: ClassVar[float] = 1.0

    def _measure(self, frequencies: Samples, power: Samples) -> float:
        return float(flatness(power[1:]))
