"""Where the elements of a JSON array or object are, without reading them."""

import mmap
import re
from array import array
from pathlib import Path

from modalign.core.errors import UserError

# Strings are taken whole, so that brackets and commas inside them do not count.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)


def elements(path: Path, plain: Path) -> tuple["array[int]", int | None]:
    """Where the bracket or comma before each element is, and the closing bracket.

    Args:
        path: The file, for messages.
        plain: The same, not packed; it begins with an array or an object.

    Returns:
        These offsets, and where something follows the closing bracket; None where nothing does.

    Raises:
        UserError: The closing bracket is missing.
    """
    offsets = array("q")
    depth, kind = 0, "array"
    with plain.open("rb") as file:
        # Not closed by hand: that fails while a match still refers to it.
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    end = None
    for match in _TOKEN.finditer(text):
        token, position = match[0], match.start()
        if end is not None:
            return offsets, position
        if (depth == 0 and token in (b"[", b"{")) or (depth, token) == (1, b","):
            offsets.append(position)
            kind = "object" if (depth, token) == (0, b"{") else kind
        if token in (b"[", b"{"):
            depth += 1
        elif token in (b"]", b"}"):
            depth -= 1
            end = position if depth == 0 else None
    if end is None:
        cure = "Mend the file, or convert it to JSON Lines, where a broken row harms no other."
        raise UserError(f"{path} breaks off: its {kind} is never closed.", cure)
    is_empty = len(offsets) == 1 and not text[offsets[0] + 1 : end].strip()
    return array("q", [end] if is_empty else [*offsets, end]), None
