"""JSON Lines: a broken line is one unusable row, whatever the others hold."""

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError
from modalign.core.sources.base import NumberedRow, RowSource
from modalign.core.sources.files import BYTE_ORDER_MARK, Spans, lines_of, unpacked

_JSON_CURE = "Mend or remove the row; each must be one JSON object."


class JsonLines(RowSource):
    """A file with one JSON object a line; blank lines are no rows, but count as lines.

    Args:
        path: May end in .gz.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        plain = unpacked(path)
        offsets, self._blanks = _index(plain)
        self._lines = Spans(plain, offsets)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        self._check(index)
        try:
            return parse_object(self._lines[index])
        except RowError as error:
            raise error.at(*self.place(index)) from None

    def place(self, index: int) -> tuple[str, int]:
        return self.name, index + bisect_right(self._blanks, index)


def stream_json_lines(path: Path) -> Iterator[NumberedRow]:
    """The rows of a JSON Lines file in order, without an index."""
    for number, line in enumerate(lines_of(path)):
        if line.strip():
            try:
                yield number, parse_object(line)
            except RowError as error:
                yield number, error.at(str(path), number)


def parse_object(text: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        RowError: The text is no UTF-8, no JSON, or no object.
    """
    try:
        value = json.loads(text.removeprefix(BYTE_ORDER_MARK).decode())
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 text: {error}", "Save the file as UTF-8, or remove the row.") from None
    except json.JSONDecodeError as error:
        raise RowError(f"not valid JSON: {error.msg} at character {error.pos}", _JSON_CURE) from None
    except (ValueError, RecursionError) as error:
        raise RowError(f"not valid JSON: {error}", _JSON_CURE) from None
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise RowError(f"not a JSON object: a {kind}", 'Write the row as {"column": value, ...}, or remove it.')
    return value


def _index(path: Path) -> tuple["array[int]", "array[int]"]:
    """Where each row starts, with the file's end; and for each blank line, how many rows come before it."""
    offsets, blanks = array("q"), array("q")
    position = 0
    for line in lines_of(path):
        if line.strip():
            offsets.append(position)
        else:
            blanks.append(len(offsets))
        position += len(line)
    offsets.append(position)
    return offsets, blanks
