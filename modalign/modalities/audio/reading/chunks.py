"""Whether a WAV or AIFF file holds all the samples that its header promises: libsndfile reads a torn one silently."""

import os
import struct
from typing import BinaryIO

_SAMPLES = {
    (b"RIFF", b"WAVE"): ("<4sI", b"data"),
    (b"FORM", b"AIFF"): (">4sI", b"SSND"),
    (b"FORM", b"AIFC"): (">4sI", b"SSND"),
}
"""How the chunks of each kind of file begin, and which of them holds the samples."""

_UNKNOWN = (0, 0xFFFFFFFF)
"""Sizes that programs write that cannot go back to the header, such as those that write into a pipe."""


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes of its samples a file lacks; 0 for files of another kind, and where the header does not say.

    Args:
        file: Anywhere; it is left anywhere.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    layout, samples = _SAMPLES.get((head[:4], head[8:]), ("", b""))
    place = 12
    while layout and place + 8 <= length:
        file.seek(place)
        kind, size = struct.unpack(layout, file.read(8))
        place += 8
        if kind == samples:
            return 0 if size in _UNKNOWN else max(size - (length - place), 0)
        place += size + size % 2
    return 0
