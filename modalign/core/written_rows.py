"""The file of rows: written chunk by chunk, so that after a kill at any moment it goes on with the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modalign.core.errors import UserError
from modalign.core.response_files import line, mend_rows, read_rows


class WrittenRows:
    """Rows, and beside them a journal with a line a finished chunk.

    The rows of a chunk are written first, its line in the journal last; what the journal does not know of is cut off.

    Args:
        rows: The file of rows.
        journal: The file of chunks.

    Attributes:
        chunks: What the journal holds, a mapping a chunk.

    Raises:
        UserError: The rows have changed since they were written.
    """

    def __init__(self, rows: Path, journal: Path) -> None:
        self.rows, self.journal = rows, journal
        mend_rows(journal)
        self.chunks = read_rows(journal)
        written = self.chunks[-1]["bytes"] if self.chunks else 0
        there = rows.stat().st_size if rows.is_file() else 0
        if there < written:
            raise UserError(
                f"{rows} is shorter than when it was last written: {there} bytes, not {written}",
                "Restore it, or build into another folder.",
            )
        if there > written:
            with rows.open("ab") as file:
                file.truncate(written)

    def add(self, rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> None:
        """Write a chunk's rows, and what the journal tells of it."""
        with self.rows.open("ab") as file:
            file.write("".join(map(line, rows)).encode())
            size = file.tell()
        chunk = {**told, "bytes": size}
        with self.journal.open("ab") as file:
            file.write(line(chunk).encode())
        self.chunks.append(chunk)
