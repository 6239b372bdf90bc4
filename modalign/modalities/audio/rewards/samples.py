"""Rewards that look at samples alone: clipping, silence and length."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.heard import SoundReward, channels_of

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)[\s-]*(?:s|secs?|seconds?)\b", re.IGNORECASE)


class Clipping(SoundReward):
    """Minus the share of samples, in all channels, at or beyond full scale: from -1 to 0; -1 where nothing is heard.

    Args:
        threshold: The absolute value from which a sample is clipped.

    Raises:
        ConfigError: It is not positive.
    """

    name: ClassVar[str] = "clipping"

    def __init__(self, threshold: float = 0.999) -> None:
        if threshold <= 0:
            raise ConfigError(f"clipping: threshold is {threshold}.", "Give a positive number; full scale is 1.")
        self.threshold = threshold

    def judge(self, prompt: Any, clip: Clip) -> float:
        return -float((np.abs(channels_of(clip)) >= np.float64(self.threshold)).mean())

    def unheard(self, prompt: Any) -> float:
        return -1.0


class Silence(SoundReward):
    """Minus the share of the time that is silent: from -1 to 0; -1 where nothing is heard.

    Frames stand side by side; the last may be shorter. One is silent where the root mean square over all channels is
    below the threshold.

    Args:
        threshold: In decibels of full scale.
        frame: Length of a frame in seconds.

    Raises:
        ConfigError: The threshold is not negative, or the length not positive.
    """

    name: ClassVar[str] = "silence"

    def __init__(self, threshold: float = -60.0, frame: float = 0.02) -> None:
        if threshold >= 0:
            raise ConfigError(f"silence: threshold is {threshold}.", "Give a negative number of decibels, such as -60.")
        if frame <= 0:
            raise ConfigError(f"silence: frame is {frame}.", "Give seconds, such as 0.02.")
        self.threshold, self.frame = threshold, frame

    def judge(self, prompt: Any, clip: Clip) -> float:
        power = (channels_of(clip) ** 2).mean(axis=0)
        starts = np.arange(0, len(power), max(round(self.frame * clip.rate), 1))
        lengths = np.diff([*starts, len(power)])
        silent = np.add.reduceat(power, starts) / lengths < 10 ** (self.threshold / 10)
        return -float(lengths[silent].sum() / len(power))

    def unheard(self, prompt: Any) -> float:
        return -1.0


class Duration(SoundReward):
    """Minus the error of the length, in seconds; what is not heard lasts 0 seconds.

    Args:
        seconds: The length that is wanted; where it is left out, each prompt says it, as `rain for 4 seconds`,
            `a 2.5 s chirp` or `a 10-second loop`. The first that it says counts.

    Raises:
        ConfigError: The length is negative.
    """

    name: ClassVar[str] = "duration"

    def __init__(self, seconds: float | None = None) -> None:
        if seconds is not None and seconds < 0:
            raise ConfigError(f"duration: seconds is {seconds}.", "Give a length of at least 0.")
        self.seconds = seconds

    def check_prompts(self, prompts: Sequence[Any]) -> None:
        """See `Reward.check_prompts`.

        Raises:
            RowError: A prompt asks for no length, and no option does.
        """
        for prompt in prompts:
            self._wanted(prompt)

    def judge(self, prompt: Any, clip: Clip) -> float:
        return -abs(clip.seconds - self._wanted(prompt))

    def unheard(self, prompt: Any) -> float:
        return -self._wanted(prompt)

    def _wanted(self, prompt: Any) -> float:
        if self.seconds is not None:
            return self.seconds
        said = _SECONDS.search(prompt) if isinstance(prompt, str) else None
        if said is None:
            raise RowError(
                f"a prompt asks for no length: {prompt!r}", "Give duration's option seconds, or say it.", "prompt"
            )
        return float(said[1])
