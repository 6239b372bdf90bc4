"""What a source of rows is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from modalign.core.errors import RowError, UserError

NumberedRow = tuple[int, Mapping[str, Any] | RowError]
"""A row with its number, or why it cannot be read."""

ROWS_LOOKED_AT = 100


class TextRow(dict[str, Any]):
    """A row of a file that knows no types, such as CSV: text in it is to be read as what it stands for."""


class RowSource(ABC):
    """Rows by number. Memory holds an index at most, never the rows.

    A source can be pickled and used after a fork: whatever it keeps open belongs to one process.

    Attributes:
        name: The file, folder or hub id, as the user wrote it.
    """

    name: str

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows, broken ones included."""

    @abstractmethod
    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Read one row.

        Raises:
            RowError: It cannot be read; the error knows file and row.
            IndexError: There is no such row.
        """

    def place(self, index: int) -> tuple[str, int]:
        """The file and the row number that a person looks for row `index` under."""
        return self.name, index

    def rows(self) -> Iterator[NumberedRow]:
        """Every row in order."""
        for index in range(len(self)):
            number = self.place(index)[1]
            try:
                yield number, self[index]
            except RowError as error:
                yield number, error

    def columns(self) -> Mapping[str, Any]:
        """Column names with the values of the first readable row.

        Where that row has no value, the next rows' values stand in, since schemas are told apart by types.

        Raises:
            UserError: No row can be read.
        """
        found: dict[str, Any] = {}
        for looked_at, (_, row) in enumerate(self.rows()):
            if isinstance(row, RowError):
                continue
            if not found:
                found = dict(row)
            found |= {name: value for name, value in row.items() if name in found and found[name] is None}
            if looked_at >= ROWS_LOOKED_AT or None not in found.values():
                break
        if not found:
            raise UserError(f"{self.name} has no row that can be read.", "Check that it is the right file, and whole.")
        return found

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {self.name}, which has {len(self)}")
