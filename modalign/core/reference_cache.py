"""Numbers kept on disk by key: safe against kills and shared by the processes of a machine."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from modalign.core.errors import UserError

KEYS_A_QUERY = 500


class ReferenceCache:
    """A table of floats in an SQLite file. A write is whole or not there at all.

    Args:
        path: The file; its folder is made.

    Raises:
        UserError: The file cannot be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._database.execute("CREATE TABLE IF NOT EXISTS logps (key TEXT PRIMARY KEY, value REAL) WITHOUT ROWID")
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"The reference cache {path} cannot be used: {error}.",
                "Delete it, or set model.reference.path to another file.",
            ) from error

    def get(self, keys: Sequence[str]) -> dict[str, float]:
        """The values of those of the keys that have one."""
        found: dict[str, float] = {}
        for start in range(0, len(keys), KEYS_A_QUERY):
            some = list(keys[start : start + KEYS_A_QUERY])
            marks = ",".join("?" * len(some))
            rows = self._database.execute(f"SELECT key, value FROM logps WHERE key IN ({marks})", some)
            found.update(rows.fetchall())
        return found

    def put(self, values: Mapping[str, float]) -> None:
        """Write all values, or none if the process dies."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO logps VALUES (?, ?)", list(values.items()))
