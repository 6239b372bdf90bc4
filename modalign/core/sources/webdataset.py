"""Webdataset shards: tar files in which neighbours that share their name up to its first dot make one row.

The members `000.caption.txt`, `000.jpg_0.jpg` and `000.label_0.txt` are a row with the columns `caption`, `jpg_0` and
`label_0`; a member with one suffix only, `000.jpg` or `000.JPG`, is the column `jpg`. Every key of `000.json` is a
column.

Text (.txt) and JSON are decoded, classes (.cls) are integers, and everything else stays bytes. Text members know no
types: "0.5" may be a number. Folders, hidden files and files without a suffix belong to no row.
"""

import io
import json
import tarfile
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from modalign.core.errors import RowError, UserError
from modalign.core.sources.base import NumberedRow, RowSource, TextRow
from modalign.core.sources.files import Spans
from modalign.core.sources.jsonl import parse_object

_PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "mp4")
_SOUNDS = ("wav", "w64", "flac", "mp3", "ogg", "oga", "opus", "aiff", "aif", "m4a", "aac")
_TYPED = ("txt", "json", "cls")
_BLOCK = 512
_TAIL = 1 << 20
_SHARD_CURE = "Fetch or write the shard again."
_ROW_CURE = "Mend the shard, or leave the row out."


class Webdataset(RowSource):
    """A shard, read by number without unpacking it.

    Args:
        path: A plain tar file.

    Raises:
        UserError: It is no tar file, it is damaged or cut off, or it holds links.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        offsets = array("q")
        last = 0
        with _opened(path) as file:
            for start, end in _rows(path, file):
                offsets.append(start)
                last = end
        offsets.append(last)
        self._rows = Spans(path, offsets)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        self._check(index)
        try:
            return _row(self._rows[index])
        except RowError as error:
            raise error.at(*self.place(index)) from None


def stream_webdataset(path: Path) -> Iterator[NumberedRow]:
    """The rows of a shard in order, without an index.

    Raises:
        UserError: It is no tar file, it is damaged or cut off, or it holds links.
    """
    with _opened(path) as file:
        for number, (start, end) in enumerate(_rows(path, file)):
            file.seek(start)
            try:
                yield number, _row(file.read(end - start))
            except RowError as error:
                yield number, error.at(str(path), number)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}", _SHARD_CURE) from error


def _rows(path: Path, file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where each row's first member begins and its last one ends, headers included."""
    current, start, end = "", 0, 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in _members(archive):
                _check_kind(path, member)
                key = _split(member)[0]
                if not key:
                    continue
                if current and key != current:
                    yield start, end
                if key != current:
                    current, start = key, member.offset
                end = archive.offset
            _check_end(path, file, archive.offset)
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{path} cannot be read as a tar file: {error}", _SHARD_CURE) from error
    if current:
        yield start, end


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members in order, none of them kept in memory."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]
        yield member


def _check_kind(path: Path, member: tarfile.TarInfo) -> None:
    if not (member.isfile() or member.isdir()):
        raise UserError(
            f"{path} holds {member.name!r}, which is no file but a link or a device.", "Write the file itself."
        )


def _check_end(path: Path, file: BinaryIO, end: int) -> None:
    """Tell a shard that was cut off, or damaged in the middle, which `tarfile` takes for its end."""
    file.seek(end)
    tail = file.read(_TAIL)
    if len(tail) < _BLOCK:
        raise UserError(f"{path} breaks off: a tar file ends with blocks of zeros.", _SHARD_CURE)
    while tail:
        if tail.strip(b"\0"):
            raise UserError(f"{path} is damaged: it goes on after byte {end}, but not with a member.", _SHARD_CURE)
        tail = file.read(_TAIL)


def _split(member: tarfile.TarInfo) -> tuple[str, str]:
    """The part of a member's name that its row shares, and its suffixes; empty for what belongs to no row."""
    folder, slash, name = member.name.rpartition("/")
    stem, _, suffixes = name.partition(".")
    return (f"{folder}{slash}{stem}", suffixes) if stem and suffixes and member.isfile() else ("", "")


def _row(content: bytes) -> TextRow:
    """The row of some neighbouring members.

    Raises:
        RowError: A member cannot be decoded, or two are one column.
    """
    row = TextRow()
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in _members(archive):
            suffixes = _split(member)[1]
            file = archive.extractfile(member) if suffixes else None
            for column, value in _columns(suffixes, file.read()).items() if file else ():
                if column in row:
                    raise RowError(f"two members for one column: {member.name!r} is the second", _ROW_CURE, column)
                row[column] = value
    return row


def _columns(suffixes: str, content: bytes) -> dict[str, Any]:
    name, _, kind = suffixes.rpartition(".")
    kind = kind.lower()
    column = name or kind if kind in (*_TYPED, *_PICTURES, *_SOUNDS) else suffixes
    if kind == "json":
        return {name: _json(content, name)} if name else parse_object(content)
    if kind == "txt":
        return {column: _text(content, column)}
    return {column: _integer(content, column) if kind == "cls" else content}


def _text(content: bytes, column: str) -> str:
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 text: {error}", "Save it as UTF-8, or leave the row out.", column) from None


def _json(content: bytes, column: str) -> Any:
    try:
        return json.loads(_text(content, column))
    except (ValueError, RecursionError) as error:
        raise RowError(f"not valid JSON: {error}", _ROW_CURE, column) from None


def _integer(content: bytes, column: str) -> int:
    written = _text(content, column).strip()
    try:
        return int(written)
    except ValueError:
        raise RowError(f"not a class: {written[:60]!r}", "Write an integer, or leave the row out.", column) from None
