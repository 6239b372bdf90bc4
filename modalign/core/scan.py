"""One look at every row before training: which comparisons can be used, and what is wrong with the others."""

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import accumulate

from lightning.pytorch.utilities import rank_zero_only

from modalign.core.ahead import computed_ahead, cores
from modalign.core.batch import Comparison, Example
from modalign.core.content import short_hash
from modalign.core.data_report import DataReport, LeftOut, SourceReport, refusal
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.extra_cells import LatestOther, OtherRow, Place, add_cells, needs_other_row, other_key
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.parsed_row import ParsedRow, PendingExample
from modalign.core.parsing import parse_row
from modalign.core.sources import RowSource

ROWS_WITHOUT_BAR = 2000


@dataclass
class Places:
    """Where comparisons are, in 24 bytes each."""

    sources: "array[int]" = field(default_factory=lambda: array("q"))
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    parts: "array[int]" = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Place:
        return self.sources[index], self.rows[index], self.parts[index]

    def append(self, place: Place) -> None:
        self.sources.append(place[0])
        self.rows.append(place[1])
        self.parts.append(place[2])


def prompt_key(comparison: Comparison) -> int:
    """A number that comparisons share if, and in practice only if, they share their prompt."""
    return short_hash(comparison.prompt)


class Scan:
    """Parses and encodes every row once.

    Args:
        sources: Where the rows are.
        formats: One a source.
        modality: Whose `encode` decides whether a comparison can be used.
        extra_roles: Cells to add before encoding.
        max_rows: Look at no more rows than this.
        check: Refuses comparisons that do not say what the objective reads, by a RowError.

    Attributes:
        places: Where the usable comparisons are.
        prompts: The keys of their prompts.
        others: Where their other rows are; empty if no extra role wants one.
        errors: What is wrong with the data.
        report: What became of each row.
    """

    def __init__(
        self,
        sources: Sequence[RowSource],
        formats: Sequence[Format],
        modality: Modality,
        extra_roles: Sequence[str] = (),
        max_rows: int | None = None,
        check: Callable[[Comparison], None] | None = None,
    ) -> None:
        self.places = Places()
        self.prompts = array("q")
        self.others = Places()
        self.errors: list[LeftOut] = []
        self.report = DataReport()
        self._sources, self._formats, self._modality = sources, formats, modality
        self._extra_roles = extra_roles
        self._check = check
        self._pairs_rows = needs_other_row(extra_roles, modality)
        self._others = LatestOther()
        self._counts = _shares(sources, max_rows)

    def run(self) -> None:
        """Look at every row.

        Raises:
            UserError: Other rows are wanted, and a source has none that can be used.
            ConfigError: Other rows are wanted, and all rows of a source are alike.
        """
        for number, count in enumerate(self._counts):
            source = self._sources[number]
            report = SourceReport(source.name, unread=len(source) - count)
            self.report.sources.append(report)
            if self._pairs_rows and count:
                self._others = self._last_rows(number, count)
            rows = self._encoded(number, _tracked(range(count), source.name))
            for index, row in enumerate(rows):
                try:
                    self._count(row, (number, index), report)
                except Exception as error:
                    error.add_note(f"at {source.name}, row {source.place(index)[1]}")
                    raise

    def _encoded(self, number: int, indices: Iterable[int]) -> Iterator[ParsedRow]:
        """A source's rows in their order, encoded; a few of them ahead by threads where the modality allows it."""
        rows = self._parsed(number, indices)
        if self._modality.encodes_in_threads:
            return computed_ahead((row.encode for row in rows), cores())
        return (row.encode() for row in rows)

    def _parsed(self, number: int, indices: Iterable[int]) -> Iterator[ParsedRow]:
        source, format, others = self._sources[number], self._formats[number], copy(self._others)
        for index in indices:
            row = ParsedRow()
            try:
                content = source[index]
                comparisons = parse_row(content, format, source.place(index))
                row.by_option = format.left_out(content)
            except Exception as error:  # told when all rows before have been
                row.error = error
                comparisons = []
            for part, comparison in enumerate(comparisons):
                prompt = prompt_key(comparison)
                key = other_key(comparison, self._modality) if self._pairs_rows else None
                row.comparisons.append(PendingExample(comparison, prompt, key, others.find(key), self._encode))
                others.add(OtherRow(key, (number, index, part), comparison))
            yield row

    def _encode(self, comparison: Comparison, other: OtherRow | None) -> Example:
        if self._check is not None:
            self._check(comparison)
        row = other.comparison if other else None
        example = self._modality.encode(add_cells(comparison, self._extra_roles, self._modality, row))
        return replace(example, cells=())  # large, and waiting rows are many

    def _count(self, row: ParsedRow, place: tuple[int, int], report: SourceReport) -> None:
        name, number = self._sources[place[0]].place(place[1])
        if isinstance(row.error, RowError):
            unusable = [LeftOut.of(row.error, name, number)]
        elif row.error is not None:
            raise row.error
        else:
            unusable = [LeftOut.of(error, name, number) for error in self._keep_usable(row, place, report)]
        self.errors += unusable
        report.count_row(name, number, max(0, len(row.comparisons) - len(unusable)), unusable, row.by_option)

    def _keep_usable(self, row: ParsedRow, place: tuple[int, int], report: SourceReport) -> Iterator[RowError]:
        for part, encoding in enumerate(row.comparisons):
            try:
                example = self._keep(encoding, (*place, part))
            except RowError as error:
                yield error
            else:
                self.report.count_example(report, example)

    def _keep(self, encoding: PendingExample, place: Place) -> Example:
        other = self._others.find(encoding.key)
        example = encoding.with_other(other)
        if other:
            self.others.append(other.place)
            self._others.add(OtherRow(encoding.key, place, encoding.comparison))
        self.places.append(place)
        self.prompts.append(encoding.prompt)
        return example

    def _last_rows(self, number: int, count: int) -> LatestOther:
        """The last two different rows of a source: what its first rows are paired with.

        Raises:
            UserError: None of its rows can be used.
            ConfigError: All its usable rows are alike.
        """
        others, usable, unusable = LatestOther(), 0, list[LeftOut]()
        source = self._sources[number]
        for index in reversed(range(count)):
            try:
                comparisons = self._usable(number, index)
            except RowError as error:
                unusable.append(LeftOut.of(error, *source.place(index)))
                continue
            usable += len(comparisons)
            for part, comparison in reversed(list(enumerate(comparisons))):
                others.add(OtherRow(other_key(comparison, self._modality), (number, index, part), comparison))
                if others.complete:
                    return others
        reasons = refusal(unusable[::-1], count).message
        if unusable and not usable:
            raise UserError(reasons, "Mend them: none is left to learn from.")
        raise ConfigError(
            "The objective wants a row with another prompt (or another image or sound) beside each, and all usable "
            f"rows of {source.name} have the same." + (f"\n{reasons}" if unusable else ""),
            "Use data with several, or an objective and variant that take nothing from other rows.",
        )

    def _usable(self, number: int, index: int) -> Sequence[Comparison]:
        """The comparisons of a row.

        Raises:
            RowError: One of them cannot be used.
        """
        source = self._sources[number]
        comparisons = parse_row(source[index], self._formats[number], source.place(index))
        for comparison in comparisons:
            self._modality.encode(comparison)
        return comparisons


def _shares(sources: Sequence[RowSource], max_rows: int | None) -> list[int]:
    """How many rows of each source are among the first `max_rows`."""
    lengths = [len(source) for source in sources]
    if max_rows is None:
        return lengths
    before = [0, *accumulate(lengths)]
    return [max(0, min(length, max_rows - start)) for length, start in zip(lengths, before, strict=False)]


def _tracked(indices: range, name: str) -> Iterable[int]:
    """The same, with a bar on a terminal for what takes a while."""
    if len(indices) <= ROWS_WITHOUT_BAR or not sys.stderr.isatty() or rank_zero_only.rank:
        return indices
    from rich.console import Console
    from rich.progress import track

    return track(indices, f"Reading {name}", console=Console(stderr=True))
