"""Whether a file holds all the samples that its headers promise: libsndfile reads a torn one silently."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_PIPED = 2**16
"""Programs that write into a pipe cannot go back to the header: a size this near below 2^31 or 2^32 stands for none."""

_PAGE = 27 + 255 + 255 * 255
"""The bytes of the longest page of an OGG file."""


@dataclass(frozen=True)
class _Layout:
    """How the chunks of a kind of file lie one after another.

    Attributes:
        first: Where the first one begins.
        header: The `struct` format of a chunk's name and size.
        samples: The name of the chunk that holds the samples.
        align: Chunks begin at multiples of this.
        whole: Whether a chunk's size counts its header too.
    """

    first: int
    header: str
    samples: bytes
    align: int = 2
    whole: bool = False


_LAYOUTS = {
    (b"RIFF", b"WAVE"): _Layout(12, "<4sI", b"data"),
    (b"RF64", b"WAVE"): _Layout(12, "<4sI", b"data"),
    (b"FORM", b"AIFF"): _Layout(12, ">4sI", b"SSND"),
    (b"FORM", b"AIFC"): _Layout(12, ">4sI", b"SSND"),
    (b"riff", b"\xa5\xd6\x28\xdb"): _Layout(40, "<4s12xQ", b"data", align=8, whole=True),  # Sony's W64
}


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes of its samples a file lacks; 0 for files of another kind, and where the header does not say.

    Of an OGG file, they are those of its last page.

    Args:
        file: Anywhere; it is left anywhere.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"OggS":
        return _missing_of_page(file, length)
    if head[:4] == b".snd" and len(head) == 12:
        place, size = struct.unpack(">II", head[4:])
        return _lacking(size, length - place)
    layout = _LAYOUTS.get((head[:4], head[8:]))
    return _missing_of_chunk(file, length, layout) if layout else 0


def _missing_of_chunk(file: BinaryIO, length: int, layout: _Layout) -> int:
    long_size = None
    for kind, place, size in _chunks(file, length, layout):
        if kind == b"ds64":  # RF64's sizes beyond 32 bits: of the file, and of the samples
            long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\xff"))[0]
        if kind == layout.samples:
            return _lacking(size if long_size is None or size != 2**32 - 1 else long_size, length - place)
    return 0


def _chunks(file: BinaryIO, length: int, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's name, where its content begins, and the content's size; the file is there."""
    header = struct.calcsize(layout.header)
    place = layout.first
    while place + header <= length:
        file.seek(place)
        kind, size = struct.unpack(layout.header, file.read(header))
        place += header
        size = max(size - header, 0) if layout.whole else size
        yield kind, place, size
        place += -(-size // layout.align) * layout.align


def _lacking(size: int, there: int) -> int:
    is_unknown = size == 0 or any(end - _PIPED <= size <= end for end in (2**31, 2**32)) or size >= 2**63 - _PIPED
    return 0 if is_unknown else max(size - there, 0)


def _missing_of_page(file: BinaryIO, length: int) -> int:
    """How many bytes the last page lacks, as far as its table of sizes is there."""
    file.seek(max(length - _PAGE, 0))
    tail = file.read(_PAGE)
    place = tail.rfind(b"OggS\0")  # the name of every page, and the version of its layout
    if place < 0:
        return 0
    page = tail[place:]
    table = 27 + (page[26] if len(page) > 26 else 0)
    return max(table + sum(page[27:table]) - len(page), 0)
