"""How loud a sound is."""

from typing import Any, ClassVar

from modalign.core.errors import ConfigError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.loudness import SILENT
from modalign.modalities.audio.rewards.heard import SoundReward

_LOWEST_RATE = 8000
"""Below it, the filters of the measure are near the highest frequency there is, and do not do what they should."""
_MOST_CHANNELS = 5


class Loudness(SoundReward):
    """Minus the distance of the integrated loudness (ITU-R BS.1770-4) from a target, in LU; or the loudness itself.

    Silence, and what is not heard, has -70 LUFS, the measure's absolute gate: nothing is softer. Sounds shorter than a
    measured block of 0.4 seconds are repeated to its length; more than 5 channels are mixed to one.

    Args:
        target: In LUFS, such as -23 (EBU R 128) or -14 (streaming); None for the loudness itself: louder is better.

    Raises:
        ConfigError: The target is out of range.
    """

    name: ClassVar[str] = "loudness"

    def __init__(self, target: float | None = -23.0) -> None:
        if target is not None and not SILENT <= target <= 0:
            raise ConfigError(f"loudness: target is {target}.", f"Give LUFS from {SILENT:g} to 0, or null.")
        self.target = target

    def judge(self, prompt: Any, clip: Clip) -> float:
        from modalign.modalities.audio.reading.loudness import loudness_of
        from modalign.modalities.audio.reading.resampling import resampled, with_channels

        if clip.channels > _MOST_CHANNELS:
            clip = with_channels(clip, 1)
        if clip.rate < _LOWEST_RATE:
            clip = resampled(clip, _LOWEST_RATE)
        return self._near(loudness_of(clip))

    def unheard(self, prompt: Any) -> float:
        return self._near(SILENT) if self.target is None else min(self._near(SILENT), self._near(0.0))

    def _near(self, loudness: float) -> float:
        loudness = max(loudness, SILENT)
        return loudness if self.target is None else -abs(loudness - self.target)
