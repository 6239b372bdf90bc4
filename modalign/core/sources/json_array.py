"""A JSON file that holds one array of rows."""

import mmap
import re
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError, UserError
from modalign.core.sources.base import RowSource
from modalign.core.sources.files import BYTE_ORDER_MARK, Spans, unpacked
from modalign.core.sources.jsonl import JsonLines, parse_object

# Strings are taken whole, so that brackets and commas inside them do not count.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)
_BLANK = BYTE_ORDER_MARK + b" \t\r\n"
_HEAD = 1 << 20
_CURE = "Mend the file, or convert it to JSON Lines, where a broken row harms no other."


class JsonArray(RowSource):
    """A file with a JSON array of objects. A broken object costs its own row, as long as its brackets match.

    Args:
        path: May end in .gz.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        plain = unpacked(path)
        self._rows = Spans(plain, _index(path, plain))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        self._check(index)
        try:
            # A part starts at the comma, or the bracket, before its row.
            return parse_object(self._rows[index][1:])
        except RowError as error:
            raise error.at(*self.place(index)) from None


def open_json(path: Path) -> RowSource:
    """A .json file: an array of objects, or one object a line, as data sets on the hub often have it.

    Raises:
        UserError: It is neither.
    """
    with unpacked(path).open("rb") as file:
        head = file.read(_HEAD)
    text = head.lstrip(_BLANK)
    if text.startswith(b"["):
        return JsonArray(path)
    try:
        # A line longer than the head cannot be judged by it.
        if b"\n" in text or len(head) < _HEAD:
            parse_object(text.partition(b"\n")[0])
    except RowError as error:
        cure = "Write [{...}, {...}] or one {...} a line; of a larger object, keep the array of rows only."
        raise UserError(
            f"{path} is neither an array of objects nor one object a line ({error.message}).", cure
        ) from None
    return JsonLines(path)


def _index(path: Path, plain: Path) -> "array[int]":
    """Where the bracket or comma before each element is, and the closing bracket."""
    offsets = array("q")
    depth = 0
    end = None
    with plain.open("rb") as file:
        # Not closed by hand: that fails while a match still refers to it.
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for match in _TOKEN.finditer(text):
        token, position = match[0], match.start()
        if end is not None:
            raise UserError(f"{path} goes on after the end of its array, at byte {position}.", _CURE)
        if (depth, token) in ((0, b"["), (1, b",")):
            offsets.append(position)
        if token in (b"[", b"{"):
            depth += 1
        elif token in (b"]", b"}"):
            depth -= 1
            end = position if depth == 0 else None
    if end is None:
        raise UserError(f"{path} breaks off: its array is never closed.", _CURE)
    is_empty = len(offsets) == 1 and not text[offsets[0] + 1 : end].strip()
    return array("q", [end] if is_empty else [*offsets, end])
