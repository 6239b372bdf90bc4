"""From paths to data sets and streams that an objective can learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from modalign.core.compatibility import check_feedback
from modalign.core.dataset import ComparisonDataset
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.objectives.base import Objective
from modalign.core.sources import open_rows
from modalign.core.stream import ComparisonStream


@dataclass(frozen=True)
class Reading:
    """How rows are read.

    Attributes:
        format: Their schema.
        modality: Encodes them.
        objective: What they are for.
        config_name: The configuration of a hub data set.
        on_bad_row: Whether unusable rows are refused or skipped.
        max_rows: How many rows are read at most.
    """

    format: Format
    modality: Modality
    objective: Objective
    config_name: str | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    max_rows: int | None = None

    def dataset(self, paths: Sequence[str], split: str) -> ComparisonDataset:
        """Read every row once, and keep where the usable ones are.

        Raises:
            UserError: A path does not exist, or rows cannot be used.
            ConfigError: The rows do not say what the objective learns from.
        """
        sources = [open_rows(path, split, self.config_name) for path in paths]
        for source in sources:
            check_feedback(self.objective, self.format, source.columns(), source.name, self.modality)
        return ComparisonDataset(
            sources,
            self.format,
            self.modality,
            on_bad_row=self.on_bad_row,
            extra_roles=self.objective.extra_roles,
            max_rows=self.max_rows,
            check=self.objective.check_comparison,
        )

    def stream(self, paths: Sequence[str], split: str, buffer: int) -> ComparisonStream:
        """Read the first row only; the errors are those of `dataset`.

        Args:
            paths: Read one after another.
            split: Of hub data sets.
            buffer: How many rows are shuffled among each other; 0 for none.
        """
        stream = ComparisonStream(
            list(paths),
            split,
            self.config_name,
            self.format,
            self.modality,
            extra_roles=self.objective.extra_roles,
            on_bad_row=self.on_bad_row,
            buffer=buffer,
            max_rows=self.max_rows,
            check=self.objective.check_comparison,
        )
        for name, columns in stream.columns():
            check_feedback(self.objective, self.format, columns, name, self.modality)
        return stream
