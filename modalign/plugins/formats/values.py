"""Typed reading of columns: a value of a wrong type ends in a `RowError` that names column, value and cure."""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from reprlib import Repr
from typing import Any

from modalign.core.errors import RowError
from modalign.core.sources import TextRow

DEEPEST = 32
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

_short = Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, 60, 60


def shown(value: Any) -> str:
    """A value for a message, cut short."""
    return f"{type(value).__name__} {_short.repr(value)}"


def required(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column that every row must have.

    Raises:
        RowError: The column is missing or has no value.
    """
    if column not in row:
        there = ", ".join(map(str, row)) or "none"
        raise RowError(
            f"missing column: the row has {there}",
            "Fill the column in. If all rows lack it, choose another format, or name the columns with `columns`.",
            column,
        )
    if row[column] is None:
        raise RowError("no value", "Fill it in, or remove the row.", column)
    return row[column]


def text(value: Any, column: str) -> str:
    """The value, if it is valid text.

    Raises:
        RowError: It is something else.
    """
    if not isinstance(value, str):
        raise RowError(f"not text: {shown(value)}", "Write a string.", column)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"not valid Unicode: {error}", "Repair the text, or remove the row.", column) from None
    return value


def items(value: Any, column: str) -> list[Any]:
    """The elements of a list.

    Raises:
        RowError: It is no list, or an empty one.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise RowError(f"not a list: {shown(value)}", "Write a list.", column)
    if not value:
        raise RowError("empty list", "Fill it in, or remove the row.", column)
    return list(value)


def number(row: Mapping[str, Any], value: Any, column: str) -> float:
    """A finite number; in a file without types, text that is one.

    Args:
        row: The row that the value is from.
        value: What to read.
        column: Its column, for the message.

    Raises:
        RowError: It is something else: a boolean, text, infinite or not a number.
    """
    cure = "Write a finite number, not a boolean and without quotes."
    is_text = isinstance(value, str) and isinstance(row, TextRow)
    if isinstance(value, bool) or not (is_text or isinstance(value, Real | Decimal)):
        raise RowError(f"not a number: {shown(value)}", cure, column)
    try:
        result = float(value)
    except (ValueError, OverflowError):
        raise RowError(f"not a number: {shown(value)}", cure, column) from None
    if not math.isfinite(result):
        raise RowError(f"not a finite number: {result}", cure, column)
    return result


def label(row: Mapping[str, Any], column: str) -> float:
    """1.0 for good and 0.0 for bad, from true and false or 1 and 0; in a file without types, from text that says so.

    Raises:
        RowError: The value is anything else, such as the text "false", which is true as a Python value.
    """
    value = required(row, column)
    if isinstance(value, str) and isinstance(row, TextRow):
        value = _BOOLEANS.get(value.strip().lower(), value)
    if isinstance(value, bool | Real) and value in (0, 1):
        return float(value)
    raise RowError(f"not a label: {shown(value)}", "Write true or false (or 1 or 0), without quotes.", column)


def weight(row: Mapping[str, Any], column: str | None) -> float:
    """How much a row counts: 1.0 where no column says.

    Raises:
        RowError: The column's value is no positive number.
    """
    if column is None:
        return 1.0
    value = number(row, required(row, column), column)
    if value <= 0:
        raise RowError(f"not a weight: {value}", "Write a number above 0, or remove the row.", column)
    return value


_EXTRA_COLUMNS: dict[str, type[Any]] = {"tools": list, "chat_template_kwargs": dict, "corrected_spans": dict}
_ENTRIES = {"corrected_spans": "corrected"}
"""Names in `Comparison.extra`, where they are not the column's."""


def extra(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says beside prompt and responses, for `Comparison.extra`.

    These are the columns `tools` and `chat_template_kwargs` (for a chat template), `corrected_spans` (ranges of
    characters, for `dense_dpo`) and `other_prompt` (for objectives that compare contexts). JSON text is decoded.

    Raises:
        RowError: One is of a wrong type.
    """
    found: dict[str, Any] = {}
    for column, kind in _EXTRA_COLUMNS.items():
        value = row.get(column)
        if value is None or value == "":
            continue
        if isinstance(value, str):
            value = _decoded(value, column)
        if not isinstance(value, kind):
            cure = f"Write a {'list' if kind is list else 'mapping'}, or JSON text of one."
            raise RowError(f"wrong type: {shown(value)}", cure, column)
        found[_ENTRIES.get(column, column)] = without_nones(value, column)
    other = row.get("other_prompt")
    if other:
        if not isinstance(other, str | list):
            raise RowError(f"wrong type: {shown(other)}", "Write it as `prompt`: text or messages.", "other_prompt")
        found["other_prompt"] = without_nones(other, "other_prompt")
    return found


def without_nones(value: Any, column: str, depth: int = 0) -> Any:
    """Nested lists and mappings without the keys whose value is None, which columnar files add to make rows alike.

    Raises:
        RowError: They are nested too deep to be meant.
    """
    if depth > DEEPEST:
        raise RowError(f"nested too deep: more than {DEEPEST} levels", "Flatten or remove the row.", column)
    if isinstance(value, Mapping):
        return {key: without_nones(item, column, depth + 1) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_nones(item, column, depth + 1) for item in value]
    return value


def _decoded(value: str, column: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RowError(f"not valid JSON: {error}", "Write JSON, or leave the column empty.", column) from None
