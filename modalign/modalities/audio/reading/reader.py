"""From a file's bytes to samples, only those that are wanted, or to a refusal that says what is wrong with the file."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modalign.core.content import content_hash
from modalign.core.errors import RowError
from modalign.core.media import Media, MediaSlice
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.decoders import TOLERANCE, Decoder, opened, sound_name
from modalign.modalities.audio.reading.file_keys import file_key
from modalign.plugins.formats.sounds import RATES

READING_VERSION = 1
"""To be raised when the same file gives other samples, here, in `resampling`, `length` or `loudness`; part of the key
of cached latents."""

MAX_NUMBERS = 2**27
"""Sounds of more samples in all channels (46 minutes of mono at 48 kHz, 512 MiB) are refused before any is decoded."""


@dataclass(frozen=True)
class SoundInfo:
    """What a header says.

    Attributes:
        rate: Frames a second.
        channels: 1 for mono, 2 for stereo.
        frames: Samples in each channel, of the slice where it is one.
    """

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self.rate


def read_clip(response: Any, start: float = 0.0, seconds: float | None = None) -> Clip:
    """The samples of a sound, at its own rate and with its own channels; nothing outside the part is decoded.

    Integers are scaled to full scale 1, floating point is taken as it is. The file's content decides how it is read,
    whatever its name says.

    Args:
        response: A `Media`, a `MediaSlice` or a `Clip`.
        start: Where the part begins, in seconds from the beginning of the sound or of the slice.
        seconds: How long it is; None for all the rest. Where less is there, what is there is returned.

    Raises:
        RowError: It is no sound, or is damaged, cut off, empty, too long, not finite, or ends before `start`; the
            message names the file.
    """
    name = sound_name(response)
    if isinstance(response, Clip):
        first, count = _part(
            SoundInfo(response.rate, response.channels, response.samples.shape[1]), start, seconds, name
        )
        return Clip(_finite(response.samples[:, first : first + count], name), response.rate)
    with opened(response) as decoder:
        info = _info(decoder, name)
        begin, frames = _slice_of(response, info, name)
        first, count = _part(SoundInfo(info.rate, info.channels, frames), start, seconds, name)
        _check_size(count, info.channels, name)
        samples = decoder.read(begin + first, count)
    _check_whole(samples.shape[1], count, info.rate, name)
    return Clip(_finite(samples, name), info.rate)


def sound_info(response: Any) -> SoundInfo:
    """What the header of a sound says; no sample is decoded.

    Args:
        response: A `Media`, a `MediaSlice` or a `Clip`.

    Raises:
        RowError: It is no sound, or is empty, or its header is damaged; the message names the file.
    """
    name = sound_name(response)
    if isinstance(response, Clip):
        info = SoundInfo(response.rate, response.channels, response.samples.shape[1])
        _part(info, 0.0, None, name)
        return info
    with opened(response) as decoder:
        info = _info(decoder, name)
    return SoundInfo(info.rate, info.channels, _slice_of(response, info, name)[1])


def sound_key(response: Any) -> str:
    """A hash of what decides the samples, 32 hexadecimal digits.

    Of a file, that is its content, and nothing is decoded; of a large file, see `file_key`.

    Raises:
        RowError: It is no sound, or the file cannot be read.
    """
    if isinstance(response, Clip):
        return content_hash([response.rate, response.samples])
    sound_name(response)
    if isinstance(response, MediaSlice):
        return content_hash([file_key(response), float(response.start), response.seconds])
    return file_key(response)


def _info(decoder: Decoder, name: str) -> SoundInfo:
    """What a decoder knows.

    Raises:
        RowError: The rate is none that can be worked with.
    """
    if not RATES[0] <= decoder.rate <= RATES[1]:
        raise RowError(
            f"not a sampling rate: {name} says {decoder.rate} frames a second",
            f"Rates are from {RATES[0]} to {RATES[1]}: mend the file, or remove the row.",
        )
    return SoundInfo(decoder.rate, decoder.channels, decoder.frames)


def _slice_of(response: Media, info: SoundInfo, name: str) -> tuple[int, int]:
    """The first frame and the number of frames of the slice that a response is, or of the whole sound.

    Raises:
        RowError: The slice is not within the sound, or the sound is empty.
    """
    if not isinstance(response, MediaSlice):
        return _part(info, 0.0, None, name)
    first, count = _part(info, response.start, response.seconds, name)
    wanted = response.seconds if response.seconds is not None else 0.0
    if response.start + wanted > info.seconds + TOLERANCE:
        raise RowError(
            f"the slice ends after the sound: {name} has {info.seconds:.3f} seconds, and {wanted:g} from second "
            f"{response.start:g} on are wanted",
            "Give a part of the file; without seconds (or end) it is all the rest.",
        )
    return first, count


def _part(info: SoundInfo, start: float, seconds: float | None, name: str) -> tuple[int, int]:
    """The first frame and the number of frames of a part.

    Raises:
        RowError: It has no frame.
    """
    if not info.frames:
        raise RowError(f"the sound is empty: {name} has no samples", "Remove the row, or mend the file.")
    first = round(min(start * info.rate, info.frames))
    last = info.frames if seconds is None else round(min((start + seconds) * info.rate, info.frames))
    if not 0 <= first < last:
        raise RowError(
            f"the slice holds no sound: {name} has {info.seconds:.3f} seconds, and "
            f"{'all' if seconds is None else f'{seconds:g}'} from second {start:g} on are wanted",
            "Give a part of the file.",
        )
    return first, last - first


def _check_size(frames: int, channels: int, name: str) -> None:
    """Refuse what would fill the memory."""
    if frames * channels > MAX_NUMBERS:
        raise RowError(
            f"the sound is too long: {name} has {frames} frames of {channels} channels, more than {MAX_NUMBERS} "
            "samples in all",
            "Give a slice of it (path, start and seconds), or split the file.",
        )


def _check_whole(found: int, wanted: int, rate: int, name: str) -> None:
    """Refuse a file that ends before its header says. Headers of MP3 may estimate."""
    if not found or found < wanted - TOLERANCE * rate:
        raise RowError(
            f"the sound is cut off: {name} has {found} frames where its header promises {wanted}",
            "Fetch or write the file again, or remove the row.",
        )


def _finite(samples: Tensor, name: str) -> Tensor:
    if not bool(torch.isfinite(samples).all()):
        raise RowError(f"the sound is not finite: {name} holds NaN or infinite samples", "Remove the row, or mend it.")
    return samples
