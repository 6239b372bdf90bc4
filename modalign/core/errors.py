"""Errors that a user can act on: what was wrong, where, and what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in a config, a file or a plugin. The command line prints it without a traceback.

    Args:
        message: What was wrong and where (file, row, config key), with the offending value.
        cure: What to do about it.
    """

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(f"{message}\n  -> {cure}" if cure else message)
        self.message = message
        self.cure = cure


class ConfigError(UserError):
    """The parts of a run do not fit together (objective, data, modality, reference)."""


class RowError(UserError):
    """One data row cannot be used.

    Args:
        message: What is wrong with the row; rows are counted by what stands before its first colon.
        cure: What to do about it.
        column: The column at fault, where there is one.

    `source` and `row` are filled in by whoever read the row.
    """

    def __init__(self, message: str, cure: str = "", column: str | None = None) -> None:
        super().__init__(message, cure)
        self.column = column
        self.source: str | None = None
        self.row: int | None = None

    def at(self, source: str, row: int) -> "RowError":
        """The same error, knowing where it happened (`row` counts from 0)."""
        self.source, self.row = source, row
        return self

    @property
    def reason(self) -> str:
        """What such rows are counted under: the message without its details and numbers."""
        return re.sub(r"\d+", "N", self.message.partition(":")[0])

    def __str__(self) -> str:
        place = f"{self.source}, row {self.row}" if self.row is not None else "row"
        column = f", column {self.column!r}" if self.column else ""
        cure = f"\n  -> {self.cure}" if self.cure else ""
        return f"{place}{column}: {self.message}{cure}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the known names nearest to a misspelt one, or lists them all."""
    names = sorted(set(known))
    lower = {known_name.lower(): known_name for known_name in names}
    near = [lower[match] for match in get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    if near:
        return f"did you mean {' or '.join(repr(n) for n in near)}? Known: {', '.join(names)}"
    return f"known: {', '.join(names) or '(none)'}"
