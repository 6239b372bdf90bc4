"""One look at every row before training: which comparisons can be used, and what is wrong with the others."""

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from lightning.pytorch.utilities import rank_zero_only

from modalign.core.batch import MISMATCHED, Comparison, Example
from modalign.core.content import content_hash
from modalign.core.data_report import DataReport, LeftOut, SourceReport
from modalign.core.errors import ConfigError, RowError
from modalign.core.extra_cells import Answered, LatestOther, Place, add_cells
from modalign.core.format import Format
from modalign.core.modality import Modality
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
    return int(content_hash(comparison.prompt)[:15], 16)


class Scan:
    """Parses and encodes every row once.

    Args:
        sources: Where the rows are.
        formats: One a source.
        modality: Whose `encode` decides whether a comparison can be used.
        extra_roles: Cells to add before encoding.
        max_rows: Look at no more rows than this.

    Attributes:
        places: Where the usable comparisons are.
        prompts: The keys of their prompts.
        mismatched: Where the responses of their mismatched cells are; empty if none were asked for.
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
    ) -> None:
        self.places = Places()
        self.prompts = array("q")
        self.mismatched = Places()
        self.errors: list[LeftOut] = []
        self.report = DataReport()
        self._sources, self._formats, self._modality = sources, formats, modality
        self._extra_roles = extra_roles
        self._others = LatestOther()
        self._counts = _shares(sources, max_rows)

    def run(self) -> None:
        """Look at every row.

        Raises:
            ConfigError: Mismatched cells are wanted, and a source has one prompt only.
        """
        for number, count in enumerate(self._counts):
            source = self._sources[number]
            report = SourceReport(source.name, unread=len(source) - count)
            self.report.sources.append(report)
            if MISMATCHED in self._extra_roles and count:
                self._others = self._last_prompts(number, count)
            for index in _tracked(range(count), source.name):
                try:
                    self._look_at(number, index, report)
                except Exception as error:
                    error.add_note(f"at {source.name}, row {source.place(index)[1]}")
                    raise

    def _look_at(self, number: int, index: int, report: SourceReport) -> None:
        source = self._sources[number]
        format = self._formats[number]
        name, row = source.place(index)
        comparisons: Sequence[Comparison] = ()
        by_option: Mapping[str, int] = {}
        try:
            content = source[index]
            comparisons, by_option = parse_row(content, format, (name, row)), format.left_out(content)
        except RowError as error:
            unusable = [LeftOut.of(error, name, row)]
        else:
            unusable = [LeftOut.of(error, name, row) for error in self._keep_usable(comparisons, number, index, report)]
        self.errors += unusable
        report.count_row(name, row, max(0, len(comparisons) - len(unusable)), unusable, by_option)

    def _keep_usable(
        self, comparisons: Iterable[Comparison], number: int, index: int, report: SourceReport
    ) -> Iterator[RowError]:
        for part, comparison in enumerate(comparisons):
            try:
                example = self._keep(comparison, (number, index, part))
            except RowError as error:
                yield error
            else:
                self.report.count_example(report, example)

    def _keep(self, comparison: Comparison, place: Place) -> Example:
        prompt = prompt_key(comparison)
        mismatched = self._others.find(prompt) if MISMATCHED in self._extra_roles else None
        response = mismatched.response if mismatched else None
        example = self._modality.encode(add_cells(comparison, self._extra_roles, self._modality, response))
        if mismatched:
            self.mismatched.append(mismatched.place)
            self._others.add(Answered(prompt, place, comparison.candidates[0].response))
        self.places.append(place)
        self.prompts.append(prompt)
        return example

    def _last_prompts(self, number: int, count: int) -> LatestOther:
        """The last two prompts of a source: what its first rows are paired with.

        Raises:
            ConfigError: All its usable rows have one prompt.
        """
        others = LatestOther()
        for index in reversed(range(count)):
            for part, comparison in reversed(list(enumerate(self._usable(number, index)))):
                others.add(Answered(prompt_key(comparison), (number, index, part), comparison.candidates[0].response))
                if others.complete:
                    return others
        raise ConfigError(
            "The objective pairs each prompt with the response to another one, and all usable rows of "
            f"{self._sources[number].name} have the same prompt.",
            "Use data with several prompts, or an objective without mismatched pairs.",
        )

    def _usable(self, number: int, index: int) -> list[Comparison]:
        try:
            source = self._sources[number]
            comparisons = parse_row(source[index], self._formats[number], source.place(index))
            for comparison in comparisons:
                self._modality.encode(comparison)
        except RowError:
            return []
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
