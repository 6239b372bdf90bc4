"""A modality that takes images without decoding them, and rows in memory, for tests of formats and sources."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from modalign.core.batch import Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.core.sources import RowSource


class Pictures(Modality):
    """Its cells are the bytes of the images."""

    name = "image"

    def encode(self, comparison: Comparison) -> Example:
        cells = []
        for candidate in comparison.candidates:
            if not isinstance(candidate.response, Media):
                raise RowError("not an image", "Give images.")
            cells.append((comparison.prompt, candidate.response.read()))
        return Example(comparison, tuple(cells), (1,) * len(cells))

    def load(self, model: str | None = None) -> nn.Module:
        raise NotImplementedError

    def collate_cells(self, cells: Sequence[Any]) -> dict[str, Any]:
        return {"cells": list(cells)}

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        raise NotImplementedError


class Rows(RowSource):
    """Rows in memory."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.name = "memory"
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        self._check(index)
        return self._rows[index]
