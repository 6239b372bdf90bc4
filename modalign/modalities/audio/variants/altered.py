"""A sound whose samples a variant changes when it is decoded."""

from dataclasses import dataclass
from typing import Any

from modalign.core.keys import run_seed
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.reader import read_clip, sound_key
from modalign.modalities.audio.variants.base import SampleVariant


@dataclass(frozen=True)
class AlteredSound:
    """What a `SampleVariant` makes of a sound; nothing is decoded before `open`.

    Attributes:
        sound: A `Media` or a `Clip`.
        variant: Changes it.
    """

    sound: Any
    variant: SampleVariant

    def open(self, seconds: float | None = None) -> Clip:
        """The changed clip, as long as the sound.

        Args:
            seconds: Only its first so many; None for all of it.

        Raises:
            RowError: The sound cannot be read or decoded.
        """
        return self.variant.alter(read_clip(self.sound, seconds=seconds), sound_key(self.sound))

    def content_key(self) -> tuple[Any, ...]:
        """What decides its samples.

        Raises:
            RowError: The sound cannot be read.
        """
        variant = type(self.variant)
        options = {name: repr(value) for name, value in vars(self.variant).items()}
        return f"{variant.__module__}.{variant.__qualname__}", options, run_seed(), sound_key(self.sound)
