"""A JSON file that holds one array of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError, UserError
from modalign.core.sources.base import RowSource
from modalign.core.sources.files import BYTE_ORDER_MARK, Spans, unpacked
from modalign.core.sources.json_elements import elements
from modalign.core.sources.json_object import looks_keyed, open_keyed
from modalign.core.sources.jsonl import JsonLines, parse_object

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
        offsets, stray = elements(path, plain)
        if stray is not None:
            raise UserError(f"{path} goes on after the end of its array, at byte {stray}.", _CURE)
        self._rows = Spans(plain, offsets)

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
    """A .json file: an array of objects, an object of them by id, or one object a line, as often on the hub.

    Raises:
        UserError: It is none of these.
    """
    with unpacked(path).open("rb") as file:
        head = file.read(_HEAD)
    text = head.lstrip(_BLANK)
    if text.startswith(b"["):
        return JsonArray(path)
    if looks_keyed(text) and (keyed := open_keyed(path)):
        return keyed
    try:
        # A line longer than the head cannot be judged by it.
        if b"\n" in text or len(head) < _HEAD:
            parse_object(text.partition(b"\n")[0])
    except RowError as error:
        cure = "Write [{...}, {...}], one {...} a line or {id: {...}}; of a larger object, keep the array of rows only."
        raise UserError(
            f"{path} is neither an array of objects nor one object a line, nor an object of objects ({error.message}).",
            cure,
        ) from None
    return JsonLines(path)
