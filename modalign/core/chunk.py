"""A chunk of a stream's rows becomes examples, and a count of what became of each row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from modalign.core.batch import Comparison, Example, PreferenceBatch
from modalign.core.data_report import DataReport, LeftOut
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.extra_cells import add_cells, needs_other_row, other_key
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.order import Pick
from modalign.core.parsing import parse_row
from modalign.core.sources.base import NumberedRow

StreamRow = tuple[str, Format, NumberedRow]
"""A row with its file, the file's format, and its number there."""


@dataclass(frozen=True)
class Chunk:
    """What a rank gets of a chunk; small enough to come from a data worker.

    Attributes:
        batch: None where no row is usable on any rank.
        report: What became of the rows.
        error: Why the stream cannot go on; raised in the main process, since a worker's error ends in its traceback.
    """

    batch: PreferenceBatch | None
    report: DataReport
    error: UserError | None = None


@dataclass
class _Row:
    """A row, and what has become of it so far."""

    source: str
    number: int
    comparisons: Sequence[Comparison] = ()
    by_option: Mapping[str, int] = field(default_factory=dict)
    errors: list[LeftOut] = field(default_factory=list)
    used: int = 0


@dataclass(frozen=True)
class ChunkReader:
    """Parses and encodes chunks.

    Attributes:
        modality: Encodes comparisons.
        extra_roles: Cells the objective wants beside the data's own.
        on_bad_row: Stop at an unusable row, or leave it out and count it.
        check: Refuses comparisons that do not say what the objective reads, by a RowError.
    """

    modality: Modality
    extra_roles: tuple[str, ...] = ()
    on_bad_row: Literal["error", "skip"] = "error"
    check: Callable[[Comparison], None] | None = None

    def read(self, chunk: Iterable[StreamRow], rank: int, world: int, report: DataReport) -> list[tuple[Pick, Example]]:
        """This rank's usable comparisons of a chunk, encoded; empty only where none is usable on any rank.

        A rank whose own comparisons are all unusable gets another rank's as a filler, since every rank has to take
        part. A rank counts the rows that it was dealt; one whose comparisons went to several ranks counts on each.

        Args:
            chunk: Its rows.
            rank: Comparisons are dealt out to the ranks one by one, from the first rank on.
            world: How many ranks there are.
            report: Counted here.

        Raises:
            UserError: A row is unusable and `on_bad_row` is "error".
            ConfigError: Another row is wanted beside each, and all rows of the chunk are alike.
        """
        rows = [self._parse(*row) for row in chunk]
        dealt = [(row, comparison) for row in rows for comparison in row.comparisons]
        own = range(rank, len(dealt), world)
        examples = list(self._encoded(dealt, own))
        unparsed = [row for number, row in enumerate(rows) if not row.comparisons and number % world == rank]
        for row in {id(row): row for row in [*(dealt[i][0] for i in own), *unparsed]}.values():
            report.source(row.source).count_row(row.source, row.number, row.used, row.errors, row.by_option)
        for row, example in examples:
            report.count_example(report.source(row.source), example)
        if examples:
            return [(Pick(row.number, False), example) for row, example in examples]
        fillers = self._encoded(dealt, range(len(dealt)))
        return [(Pick(row.number, True), example) for row, example in islice(fillers, 1)]

    def _parse(self, source: str, format: Format, numbered: NumberedRow) -> _Row:
        number, row = numbered
        try:
            if isinstance(row, RowError):
                raise row
            return _Row(source, number, parse_row(row, format, (source, number)), format.left_out(row))
        except RowError as error:
            return _Row(source, number, errors=[self._bad(error, source, number)])

    def _encoded(
        self, dealt: Sequence[tuple[_Row, Comparison]], indices: Iterable[int]
    ) -> Iterator[tuple[_Row, Example]]:
        for index in indices:
            row, comparison = dealt[index]
            other = self._other(dealt, index) if needs_other_row(self.extra_roles, self.modality) else None
            try:
                if self.check is not None:
                    self.check(comparison)
                example = self.modality.encode(add_cells(comparison, self.extra_roles, self.modality, other))
            except RowError as error:
                row.errors.append(self._bad(error, row.source, row.number))
            else:
                row.used += 1
                yield row, example

    def _other(self, dealt: Sequence[tuple[_Row, Comparison]], index: int) -> Comparison:
        """The next comparison of the chunk with another key."""
        comparison = dealt[index][1]
        key = other_key(comparison, self.modality)
        for step in range(1, len(dealt)):
            other = dealt[(index + step) % len(dealt)][1]
            if other_key(other, self.modality) not in (None, key):
                return other
        raise ConfigError(
            "The objective wants a row with another prompt (or another image or sound) beside each, and the rows that "
            f"were read together from {comparison.source} and can be used have the same.",
            "Use larger batches, or data.streaming: false.",
        )

    def _bad(self, error: RowError, source: str, number: int) -> LeftOut:
        if self.on_bad_row == "error":
            raise UserError(str(error.at(source, number)), "Mend the row, or set data.on_bad_row: skip.")
        return LeftOut.of(error, source, number)
