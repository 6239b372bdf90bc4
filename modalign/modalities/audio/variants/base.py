"""The contract of an audio variant."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.modalities.audio.clip import Clip


class AudioVariant(ABC):
    """Says which sounds take the place of a prompt's own where a response is judged under the other sound.

    What it draws must be a pure function of the run's seed and of the sounds, so that policy and reference, every epoch
    and a resumed run hear the same, and a cached reference stays valid.

    Attributes:
        name: The short name it is registered under.
        needs_other_row: Whether `sounds` must be handed another row.
    """

    name: ClassVar[str]
    needs_other_row: ClassVar[bool] = False

    @abstractmethod
    def sounds(self, comparison: Comparison, sounds: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        """The sounds that take the place of a prompt's own: as many, as `Media`, `Clip` or `AlteredSound`.

        Args:
            comparison: Whose prompt it is; `extra["other_audios"]` holds those that the data brings along.
            sounds: The prompt's own, at least one, not decoded.
            other: Another row of the data, with other sounds; None unless `needs_other_row`.

        Raises:
            RowError: There are none to take.
        """


class SampleVariant(AudioVariant):
    """A variant that changes each sound's samples, when it is decoded."""

    def sounds(self, comparison: Comparison, sounds: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        """See `AudioVariant.sounds`."""
        from modalign.modalities.audio.variants.altered import AlteredSound

        return [AlteredSound(sound, self) for sound in sounds]

    @abstractmethod
    def alter(self, clip: Clip, key: str) -> Clip:
        """The clip changed, as long and at the same rate.

        Args:
            clip: As its file has it.
            key: A hash of its content, to draw by.
        """
