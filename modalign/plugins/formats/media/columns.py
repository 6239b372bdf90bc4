"""Which columns hold images or sounds, as far as names and values tell."""

import re
from collections.abc import Callable, Mapping
from typing import Any

_CONTENT = frozenset({"prompt", "chosen", "rejected", "completion", "completions"})
"""What is asked and answered: text there may name a file."""


def media_columns(
    columns: Mapping[str, Any],
    names: re.Pattern[str],
    files: re.Pattern[str],
    is_decoded: Callable[[Any], bool],
    unnamed_bytes: bool = False,
) -> list[str]:
    """The columns that by their names or values hold media of a kind beside whatever else a row holds.

    Args:
        columns: Names with the first row's values.
        names: What such columns are called; one of them counts unless it is empty, whatever is wrong with its value.
        files: Names of their files.
        is_decoded: Whether a value is a decoded one.
        unnamed_bytes: Whether a mapping with bytes that names no file counts, whatever its column is called.
    """

    def shows(name: str, value: Any) -> bool:
        if isinstance(value, list):
            return bool(value) and all(shows(name, item) for item in value)
        if name in _CONTENT:
            return False
        if isinstance(value, Mapping) and "bytes" in value:
            path = value.get("path")
            return files.fullmatch(path) is not None if isinstance(path, str) and path else unnamed_bytes
        return is_decoded(value) or (isinstance(value, str) and files.fullmatch(value) is not None)

    def meant(name: str, value: Any) -> bool:
        return names.fullmatch(name) is not None and value not in (None, "", [], False)

    return [name for name, value in columns.items() if meant(str(name), value) or shows(str(name), value)]
