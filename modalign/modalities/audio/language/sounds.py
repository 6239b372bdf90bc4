"""From the sounds of a prompt to the waveforms that a processor is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import groupby
from math import ceil
from typing import Any, ClassVar, Literal

from modalign.core.content import content_hash
from modalign.core.errors import RowError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.decoders import naming
from modalign.modalities.audio.reading.reader import read_clip, sound_info, sound_key
from modalign.modalities.audio.reading.resampling import resampled, with_channels
from modalign.modalities.audio.variants.altered import AlteredSound
from modalign.modalities.vision_language.medium import Medium
from modalign.modalities.vision_language.processor import part_of
from modalign.modalities.vision_language.prompts import AUDIO

LongSounds = Literal["error", "cut"]

EXTRACTORS = ("feature_extractor", "audio_processor")
"""The names that processors give to what makes spectra of sounds."""


@dataclass(frozen=True)
class Sounds(Medium):
    """The sounds of prompts: mono, at the rate that the model hears.

    Args:
        rate: Frames a second.
        longest: Most frames that the processor takes of one sound, and beyond which it would cut silently; None where
            it takes any number.
        long_sounds: What becomes of a sound with more: "error" makes its row a bad row, "cut" takes its beginning.
    """

    kind: ClassVar[str] = AUDIO

    rate: int
    longest: int | None
    long_sounds: LongSounds = "error"

    @property
    def settings(self) -> Sequence[Any]:
        """See `Medium.settings`."""
        return [self.rate, self.longest, self.long_sounds]

    def open(self, value: Any) -> Any:
        """`(frames,)` float32 numpy samples; nothing behind what is heard is decoded.

        Raises:
            RowError: It is no sound, is damaged, or is longer than the model hears.
        """
        if self.cuts(value) and self.long_sounds == "error":
            with naming(_file(value)):
                raise self._too_long(value)
        seconds = None if self.longest is None else self.longest / self.rate
        clip = resampled(with_channels(_read(value, seconds), 1), self.rate)
        return clip.samples[0, : self.longest].numpy()

    def cuts(self, value: Any) -> bool:
        """See `Medium.cuts`."""
        return self.longest is not None and self._frames(value) > self.longest

    def key(self, value: Any) -> str:
        """See `Medium.key`."""
        return content_hash(value) if isinstance(value, AlteredSound) else sound_key(value)

    def arguments(self, prompts: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """See `Medium.arguments`; the waveforms of all prompts in one list."""
        waveforms = [waveform for prompt in prompts for waveform in prompt]
        return {"audio": waveforms, "sampling_rate": self.rate} if waveforms else {}

    def padding(self, options: dict[str, Any]) -> dict[str, Any]:
        """See `Medium.padding`: spectra would be padded too, and to less than some towers take."""
        return {"text_kwargs": options}

    def check_tokens(self, ids: Sequence[int], plain_ids: Sequence[int], places: frozenset[int]) -> None:
        """See `Medium.check_tokens`: processors write no token for a sound of a few milliseconds."""
        counted = sum(token in places for token in ids), sum(token in places for token in plain_ids)
        if counted[0] < counted[1] or _runs(ids, places) < _runs(plain_ids, places):
            raise RowError(
                "a sound is too short: the model's processor leaves nothing of it",
                "Remove the row, or give a longer sound: a tenth of a second is enough.",
                "prompt",
            )

    def _frames(self, value: Any) -> int:
        """How many there are at the model's rate, by the header."""
        info = sound_info(_file(value))
        return ceil(info.frames * self.rate / info.rate)

    def _too_long(self, value: Any) -> RowError:
        heard = (self.longest or 0) / self.rate
        return RowError(
            f"a sound is too long: it has {self._frames(value) / self.rate:.2f} seconds, and the model hears {heard:g}",
            "Cut it, or set modality.long_sounds: cut, which takes its beginning; or leave such rows out by "
            "on_bad_row: skip.",
            "prompt",
        )


def extractor_of(processor: Any) -> Any:
    """What makes spectra of sounds for a processor."""
    return part_of(processor, EXTRACTORS)


def longest_sound(processor: Any) -> int | None:
    """How many frames of a sound a processor takes before it cuts the rest off; None where it does not."""
    extractor = extractor_of(processor)
    window = getattr(extractor, "n_samples", None)
    seconds = getattr(processor, "max_audio_len", None)
    if window is not None and seconds is not None:
        # Such processors cut a sound into windows, and take as many whole ones as fit.
        return int(window) * int(seconds // (window / extractor.sampling_rate))
    defaults = {name: each.default for name, each in signature(type(extractor).__call__).parameters.items()}
    if not getattr(processor, "audio_kwargs", {}).get("truncation", defaults.get("truncation", False)):
        return None
    return defaults.get("max_length") or window


def _file(value: Any) -> Any:
    return value.sound if isinstance(value, AlteredSound) else value


def _read(value: Any, seconds: float | None) -> Clip:
    return value.open(seconds) if isinstance(value, AlteredSound) else read_clip(value, seconds=seconds)


def _runs(ids: Sequence[int], places: frozenset[int]) -> int:
    """How many stretches of placeholders there are."""
    return sum(is_place for is_place, _ in groupby(ids, key=places.__contains__))
