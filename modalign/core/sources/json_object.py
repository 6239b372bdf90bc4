"""A JSON file that holds one object of rows by their ids."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError
from modalign.core.sources.base import RowSource
from modalign.core.sources.files import Spans, unpacked
from modalign.core.sources.json_elements import elements
from modalign.core.sources.jsonl import parse_object

_KEY = rb'\s*"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*:\s*'
_ROW = re.compile(rb"[{,]" + _KEY + rb"\{", re.DOTALL)
_ENTRY = re.compile(rb"[{,](" + _KEY + rb")", re.DOTALL)


class JsonObject(RowSource):
    """A file with a JSON object whose values are the rows: `{"2378": {"chosen": ...}, ...}`.

    The key of a row is its column `id`, unless it has one. A broken row costs itself only, as long as its brackets
    match.

    Args:
        name: The file.
        rows: Its entries, each from the bracket or comma before it.
    """

    def __init__(self, name: str, rows: Spans) -> None:
        self.name = name
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        self._check(index)
        entry = self._rows[index]
        key = _ENTRY.match(entry)
        try:
            if key is None:
                raise RowError("not valid JSON: a row without a key", 'Write "id": {...}, or remove the row.')
            row = parse_object(entry[key.end() :])
            return {"id": _text(key[1]), **row}
        except RowError as error:
            raise error.at(*self.place(index)) from None


def looks_keyed(head: bytes) -> bool:
    """Whether a file that begins so may be an object of rows: its first value is an object."""
    return _ROW.match(head) is not None


def open_keyed(path: Path) -> JsonObject | None:
    """An object of rows; None where something follows the object, or a value in it is no object.

    Args:
        path: May end in .gz.

    Raises:
        UserError: The object breaks off.
    """
    plain = unpacked(path)
    offsets, stray = elements(path, plain)
    rows = Spans(plain, offsets)
    if stray is not None or not all(_ROW.match(rows[number]) for number in range(len(rows))):
        return None
    return JsonObject(str(path), rows)


def _text(key: bytes) -> str:
    """The key that stands before a row, with its colon.

    Raises:
        RowError: It is no text.
    """
    try:
        return str(json.loads(key.strip().removesuffix(b":")))
    except ValueError as error:
        raise RowError(f"not valid JSON: {error}", "Mend the key of the row.") from None
