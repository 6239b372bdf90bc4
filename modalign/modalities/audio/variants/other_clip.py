"""The sounds that the data brings along, or those of another row."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any, ClassVar, Literal

from modalign.core.batch import Comparison
from modalign.core.errors import ConfigError, RowError, did_you_mean
from modalign.modalities.audio.variants.base import AudioVariant
from modalign.modalities.vision_language.prompts import AUDIO, media_of

OTHER_AUDIOS = "other_audios"
Source = Literal["data", "row"]
SOURCES = ("data", "row")


class OtherClip(AudioVariant):
    """Other sounds in place of the prompt's own.

    Args:
        source: Where they are from. "data": the row's own column `other_audios` or `other_audio`. "row": another row's
            prompt, repeated where this row has more sounds.

    Raises:
        ConfigError: There is no such source.
    """

    name: ClassVar[str] = "other_clip"

    def __init__(self, source: Source = "data") -> None:
        if source not in SOURCES:
            raise ConfigError(f"The audio variant other_clip has source {source!r}.", did_you_mean(source, SOURCES))
        self.source = source

    @property
    def needs_other_row(self) -> bool:  # type: ignore[override]
        """See `AudioVariant.needs_other_row`."""
        return self.source == "row"

    def sounds(self, comparison: Comparison, sounds: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        """See `AudioVariant.sounds`."""
        return _of_another(sounds, other) if self.source == "row" else _brought_along(comparison, sounds)


def _brought_along(comparison: Comparison, sounds: Sequence[Any]) -> Sequence[Any]:
    found: Sequence[Any] = comparison.extra.get(OTHER_AUDIOS) or ()
    if len(found) != len(sounds):
        there = f"{len(found)} other sounds for {len(sounds)}" if found else "no other sound"
        raise RowError(
            f"the row has {there}, and the objective compares the prompt's own with another",
            f"Use data with a column {OTHER_AUDIOS}, or make them: model.modality.other_audio noised or silent, or "
            "other_clip with source: row.",
            OTHER_AUDIOS,
        )
    return found


def _of_another(sounds: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
    theirs = media_of(other.prompt, AUDIO) if other is not None else []
    if not theirs:
        raise RowError("there is no other row with a sound to take", "Use data with several sounds.")
    return list(islice(cycle(theirs), len(sounds)))
