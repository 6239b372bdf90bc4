"""Reading a sound from a row, however it is written there: a path, bytes, base64, a part of a file, samples."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modalign.core.errors import RowError, did_you_mean
from modalign.core.fetched import FetchedMedia
from modalign.core.media import Media, MediaSlice
from modalign.plugins.formats.media.columns import media_columns
from modalign.plugins.formats.media.kind import MediaKind
from modalign.plugins.formats.values import number, shown

_KEYS = ("bytes", "path", "array", "sampling_rate", "start", "seconds", "end")
_SAMPLES = "Write `array`, (frames,) or (channels, frames) of floating point up to 1, and `sampling_rate`."
RATES = (100, 1_000_000)
"""Frames a second that a sound may have: between rates beyond these, resampling would fill the memory."""

_FILE = re.compile(r"\S+\.(?:wav|w64|flac|mp3|ogg|opus|oga|m4a|aac|aiff?|webm)", re.IGNORECASE)
_NAMES = re.compile(r"(?:other_|rejected_)?audios?(?:_(?:file)?paths?|_\d)?", re.IGNORECASE)


def sound_columns(columns: Mapping[str, Any]) -> list[str]:
    """The columns that by their names or values hold sounds beside whatever else a row holds."""
    return media_columns(columns, _NAMES, _FILE, is_decoded)


def is_decoded(value: Any) -> bool:
    """Whether a value is a mapping with samples, as the `datasets` library gives a sound that it has decoded."""
    return isinstance(value, Mapping) and value.get("array") is not None


def _encoded(value: Any, column: str) -> bytes:
    """Samples as a WAV file, which loses nothing of them."""
    import numpy as np

    from modalign.plugins.formats.float_wav import float_wav

    rate = value.get("sampling_rate")
    if not isinstance(rate, int | float) or not RATES[0] <= rate <= RATES[1] or rate != int(rate):
        raise RowError(f"not a sampling rate: {shown(rate)}", _SAMPLES, column)
    try:
        samples = np.asarray(value["array"])
    except ValueError as error:  # lists of different lengths
        raise RowError(f"not samples: {error}", _SAMPLES, column) from None
    if samples.dtype.kind not in "fiu" or samples.ndim not in (1, 2) or not samples.size:
        raise RowError(f"not samples: {samples.dtype} of the shape {samples.shape}", _SAMPLES, column)
    if samples.dtype.kind != "f" and np.abs(samples).max() > 1:
        raise RowError(f"integers, whose full scale is not known: {samples.dtype}", _SAMPLES, column)
    samples = np.atleast_2d(samples)
    if samples.shape[0] > samples.shape[1]:
        problem = f"more channels than frames: samples of the shape {samples.shape}"
        raise RowError(problem, "Transpose them: channels come first.", column)
    with np.errstate(over="ignore"):  # what becomes infinite is refused where it is read
        return float_wav(samples.astype(np.float32), int(rate))


@dataclass(frozen=True)
class SoundKind(MediaKind):
    """Sounds: in a mapping, `start` with `seconds` or `end`, all in seconds, names a part of the file."""

    def read(self, value: Any, column: str, root: str | None = None, allow_urls: bool | None = None) -> Media:
        """See `MediaKind.read`; a part of a file is a `MediaSlice`."""
        if not isinstance(value, Mapping):
            return super().read(value, column, root, allow_urls)
        for key in value:
            if key not in _KEYS:
                raise RowError(f"a sound's mapping has {key!r}", did_you_mean(str(key), _KEYS), column)
        media = super().read(value, column, root, allow_urls)
        start, seconds = _part(value, column)
        if (start, seconds) == (0.0, None):
            return media
        if isinstance(media, FetchedMedia):
            raise RowError("a slice of a URL", "Fetch the file first, and write its path into the row.", column)
        return MediaSlice(media.path, media.data, start, seconds)


def _part(value: Mapping[str, Any], column: str) -> tuple[float, float | None]:
    """Where a slice begins and how long it is; 0 and None for all of the sound."""
    found = {key: value[key] for key in ("start", "seconds", "end") if value.get(key) is not None}
    if "seconds" in found and "end" in found:
        raise RowError("both seconds and end are given", "Write one of them.", column)
    start, seconds, end = (
        number(value, found[key], f"{column}.{key}") if key in found else None for key in ("start", "seconds", "end")
    )
    start = start or 0.0
    if end is not None:
        seconds = end - start
    if start < 0 or (seconds is not None and seconds <= 0):
        raise RowError(
            f"not a part of a sound: {', '.join(f'{key} {found[key]}' for key in found)}",
            "Write start (seconds from 0 on) and seconds above 0, or an end after the start.",
            column,
        )
    return start, seconds


SOUND = SoundKind(
    name="sound",
    named="a sound",
    type="audio",
    example="wav",
    # WAV, FLAC, OGG, MP3 with its title, and MP3 and AAC without.
    encoded=re.compile(r"(?:UklGR|ZkxhQ|T2dnU|SUQz|//[E-Pk-v])[A-Za-z0-9+/\s]{80,}={0,2}\s*"),
    forms=(
        "Write a path (from the folder of the data file, or of the format's root), the bytes of a file, a mapping with "
        "`bytes`, `path` (beside them `start` and `seconds` or `end`) or `array` and `sampling_rate`, or base64 text."
    ),
    is_decoded=is_decoded,
    encode=_encoded,
)
"""Sounds, as rows write them."""
