"""Whether a WAV file holds all the samples that its header promises: libsndfile reads a torn one without a word."""

import os
import struct
from typing import BinaryIO

_UNKNOWN = (0, 0xFFFFFFFF)
"""Sizes that programs write that cannot go back to the header, such as at the end of a pipe."""


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes of its samples a WAV file lacks; 0 for any other file, and where the header does not say.

    Args:
        file: Anywhere; it is left anywhere.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0
    place = 12
    while place + 8 <= length:
        file.seek(place)
        kind, size = struct.unpack("<4sI", file.read(8))
        place += 8
        if kind == b"data":
            return 0 if size in _UNKNOWN else max(size - (length - place), 0)
        place += size + size % 2
    return 0
