"""Pairs of images or sounds: the better and the worse one for a prompt."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.plugins.formats.media.base import MediaFormat


class MediaPairs(MediaFormat):
    """A format of rows with a prompt and two responses.

    Attributes:
        chosen_names: What the column of the better one may be called.
        rejected_names: What the column of the other may be called.
    """

    chosen_names: ClassVar[tuple[str, ...]]
    rejected_names: ClassVar[tuple[str, ...]]

    def matches(self, columns: Mapping[str, Any]) -> bool:
        responses = [columns.get(name) for name in self.columns(columns)]
        return self.has_prompt(columns) and all(map(self.kind.looks_like, responses))

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        columns = self.columns(row)
        chosen, rejected = (self.media(row, column) for column in columns)
        return [self.pair(row, chosen, rejected, columns, self.scores(row))]

    def columns(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """The columns of the better and of the other response."""
        return self.column(row, "chosen", self.chosen_names), self.column(row, "rejected", self.rejected_names)

    def scores(self, row: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """Their ratings, where there are any.

        Raises:
            RowError: They cannot be read.
        """
        return None, None
