"""Hashes of files, without reading the largest whole."""

import os
from functools import lru_cache
from typing import BinaryIO

from modalign.core.content import content_hash
from modalign.core.media import Media

WHOLE = 2**25
"""Files of up to this many bytes (32 MiB: three minutes of stereo WAV) are hashed whole."""

_PARTS, _PART = 64, 2**16


def file_key(media: Media) -> str:
    """A hash of a file's content.

    A file of more than `WHOLE` bytes is hashed by its size, by when it was changed and by 64 parts of 64 KiB at equal
    distances, the first and the last among them: a copy with another date has another key, which costs no more than
    its latents being computed again.

    Raises:
        RowError: The file is missing, empty or cannot be read.
    """
    with media.open() as file:
        if media.data is not None:
            return content_hash(media.data)
        state = os.fstat(file.fileno())
        return _key(file.name, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _key(path: str, size: int, changed: int) -> str:
    """Kept, since the slices of one file ask for the same."""
    with open(path, "rb") as file:
        return content_hash(file.read()) if size <= WHOLE else content_hash([size, changed, *_parts(file, size)])


def _parts(file: BinaryIO, size: int) -> list[bytes]:
    parts = []
    for number in range(_PARTS):
        file.seek((size - _PART) * number // (_PARTS - 1))
        parts.append(file.read(_PART))
    return parts
