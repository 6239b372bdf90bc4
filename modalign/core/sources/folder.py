"""A folder of data files, read as one."""

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.sources.base import RowSource


class Folder(RowSource):
    """Several files one after another.

    Args:
        name: The folder.
        files: Its files' rows.
    """

    def __init__(self, name: str, files: Sequence[RowSource]) -> None:
        self.name = name
        self._files = files
        self._starts = array("q", [0])
        for file in files:
            self._starts.append(self._starts[-1] + len(file))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        file, row = self._find(index)
        return file[row]

    def place(self, index: int) -> tuple[str, int]:
        file, row = self._find(index)
        return file.place(row)

    def _find(self, index: int) -> tuple[RowSource, int]:
        self._check(index)
        # The last start not above the index, so that a file without rows is passed over.
        number = bisect_right(self._starts, index) - 1
        return self._files[number], index - self._starts[number]
