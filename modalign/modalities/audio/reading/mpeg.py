"""How long an MP3 without a length in its header is, or an AAC file, which never has one: their frames, counted."""

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

_TAGS = 2**16
"""So many bytes after the last frame may be something else: tags, or half a frame."""

_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Frames a second, by the version of MPEG as its two bits say it: 1, 2, and 2.5."""

_MP3_BITRATES = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Thousand bits a second; those of version 2.5 are those of 2."""

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class _Frame(NamedTuple):
    size: int
    samples: int
    rate: int


def mp3_frames(file: BinaryIO) -> int | None:
    """The samples in each channel of an MP3 whose header does not say them, without which its length is a guess.

    Args:
        file: Anywhere; it is left anywhere. It is read whole where its header does not say.

    Returns:
        None where the header says, where the frames do not follow one another, and for files of another kind.
    """
    place = _after_tag(file)
    file.seek(place)
    frame = _mp3_frame(file.read(4))
    if frame is None:
        return None
    file.seek(place)
    return None if _says_its_length(file.read(frame.size)) else _counted(file, place, _mp3_frame)[0]


def aac_seconds(file: BinaryIO) -> float | None:
    """How long an AAC file (ADTS) is; None where its frames do not follow one another, and for files of another kind.

    Args:
        file: Anywhere; it is left anywhere. It is read whole.
    """
    samples, rate = _counted(file, _after_tag(file), _aac_frame)
    return None if samples is None else samples / rate


def _after_tag(file: BinaryIO) -> int:
    """Where an ID3 tag ends that a file may begin with."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return 10 + size


def _counted(file: BinaryIO, place: int, parse: Callable[[bytes], _Frame | None]) -> tuple[int | None, int]:
    """The samples of all frames, and their rate; None where one is followed by what is none."""
    file.seek(place)
    content = file.read()
    place = samples = rate = 0
    while frame := parse(content[place : place + 7]):
        samples, rate = samples + frame.samples, frame.rate
        place += frame.size
    return (samples if samples and len(content) - place <= _TAGS else None), rate


def _says_its_length(frame: bytes) -> bool:
    """Whether the first frame is one of those that hold no sound but how many frames there are."""
    for name in (b"Xing", b"Info"):
        place = frame.find(name, 4, 48)
        if place > 0:
            flags, frames = frame[place + 4 : place + 8], frame[place + 8 : place + 12]
            return any(frames) and bool(flags[3] & 1)
    return frame[36:40] == b"VBRI"


def _mp3_frame(head: bytes) -> _Frame | None:
    """The frame of MPEG audio, layer III, that begins with these 4 bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    frequency = _MP3_RATES[version][rate]
    bitrate = 1000 * _MP3_BITRATES[version or 2][bits]
    return _Frame(samples // 8 * bitrate // frequency + (head[2] >> 1 & 1), samples, frequency)


def _aac_frame(head: bytes) -> _Frame | None:
    """The ADTS frame that begins with these 7 bytes."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate = head[2] >> 2 & 15
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return _Frame(size, 1024 * ((head[6] & 3) + 1), _AAC_RATES[rate]) if rate < len(_AAC_RATES) and size >= 7 else None
