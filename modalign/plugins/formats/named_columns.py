"""Formats whose columns may be called otherwise than the schema calls them, by options."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.errors import UserError, did_you_mean
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.plugins.formats.scored import first_of


class NamedColumns(Format):
    """A format with an option for each column that may have another name.

    Args:
        named: For each thing the format reads, the column that an option names for it; None where none does.
    """

    def __init__(self, **named: str | None) -> None:
        self.named = {option: column for option, column in named.items() if column is not None}

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        super().resolve(columns, source, modality)
        for option, column in self.named.items():
            if column not in columns:
                raise UserError(
                    f"{source} has no column {column!r}, which data.format names as {option}.",
                    did_you_mean(column, map(str, columns)),
                )
        return self

    def column(self, row: Mapping[str, Any], option: str, known: Sequence[str]) -> str:
        """The column that an option names, or the first of the known names that the row has."""
        return self.named.get(option) or first_of(row, known)
