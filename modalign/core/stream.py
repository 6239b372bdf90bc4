"""Data read as a stream: no length, no index, and still the same batches after a restart."""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from modalign.core.batch import MISMATCHED, Comparison, Example, PreferenceBatch
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.extra_cells import add_cells, check_extra_roles
from modalign.core.format import Format
from modalign.core.keys import key_seed, run_seed
from modalign.core.loader import Collate
from modalign.core.modality import Modality
from modalign.core.order import Pick
from modalign.core.sources import data_files, stream_rows

Numbered = tuple[int, Mapping[str, Any] | RowError]


class ComparisonStream:
    """Rows in a reproducible order, read anew every epoch.

    Args:
        paths: Files, folders or hub ids, read one after another.
        split: The split of a hub data set.
        config_name: The configuration of a hub data set.
        format: The schema.
        modality: Encodes comparisons.
        extra_roles: Cells the objective wants beside the data's own.
        on_bad_row: Stop at an unusable row, or leave it out and say so.
        buffer: How many rows are shuffled among each other; 0 keeps the order of the data.
        max_rows: Read only this many rows.
    """

    def __init__(
        self,
        paths: list[str],
        split: str,
        config_name: str | None,
        format: Format,
        modality: Modality,
        extra_roles: tuple[str, ...] = (),
        on_bad_row: Literal["error", "skip"] = "error",
        buffer: int = 1000,
        max_rows: int | None = None,
    ) -> None:
        check_extra_roles(extra_roles, modality)
        self.paths, self.split, self.config_name = paths, split, config_name
        self.modality = modality
        self.extra_roles = extra_roles
        self.on_bad_row = on_bad_row
        self.buffer = buffer
        self.max_rows = max_rows
        self._format = format

    def rows(self, epoch: int) -> Iterator[tuple[str, Format, Numbered]]:
        """Source, format and row, in the epoch's order."""
        rows = islice(self._in_order(), self.max_rows)
        return _shuffled(rows, self.buffer, key_seed(run_seed(), epoch, "stream")) if self.buffer else rows

    def examples(
        self, chunk: Iterable[tuple[str, Format, Numbered]], rank: int, world: int
    ) -> list[tuple[Pick, Example]]:
        """This rank's usable rows of a chunk, encoded; empty only where no row of the chunk is usable on any rank.

        A rank whose own rows are all unusable gets another rank's as a filler, since every rank has to take part.

        Raises:
            UserError: A row is unusable and `on_bad_row` is "error".
        """
        comparisons = self._with_cells(self._comparisons(chunk))
        mine = list(self._encoded(comparisons[rank::world], filler=False))
        return mine or list(islice(self._encoded(comparisons, filler=True), 1))

    def _comparisons(self, chunk: Iterable[tuple[str, Format, Numbered]]) -> list[Comparison]:
        comparisons: list[Comparison] = []
        for source, format, (number, row) in chunk:
            try:
                if isinstance(row, RowError):
                    raise row
                comparisons += [replace(c, source=source, row=number) for c in format.parse(row)]
                for reason, count in format.left_out(row).items():
                    print(f"left out: {source}, row {number}: {count} comparisons ({reason})")
            except RowError as error:
                self._bad(error.at(source, number))
        return comparisons

    def _with_cells(self, comparisons: list[Comparison]) -> list[Comparison]:
        """Add the objective's own cells; a mismatched one takes the next response of the chunk to another prompt."""
        if not self.extra_roles:
            return comparisons
        count = len(comparisons)
        whole = []
        for i, comparison in enumerate(comparisons):
            others = (comparisons[(i + step) % count] for step in range(1, count))
            other = next((o.candidates[0].response for o in others if o.prompt != comparison.prompt), None)
            if other is None and MISMATCHED in self.extra_roles:
                raise ConfigError(
                    "The objective pairs each prompt with the response to another one, and the rows read together "
                    f"from {comparison.source} have one prompt only.",
                    "Use larger batches, or data.streaming: false.",
                )
            try:
                whole.append(add_cells(comparison, self.extra_roles, self.modality, other))
            except RowError as error:
                self._bad(error.at(comparison.source, comparison.row))
        return whole

    def _encoded(self, comparisons: Iterable[Comparison], filler: bool) -> Iterator[tuple[Pick, Example]]:
        for comparison in comparisons:
            try:
                yield Pick(comparison.row, filler), self.modality.encode(comparison)
            except RowError as error:
                self._bad(error.at(comparison.source, comparison.row))

    def _bad(self, error: RowError) -> None:
        if self.on_bad_row == "error":
            raise UserError(str(error), "Mend the row, or set data.on_bad_row: skip.")
        print(f"skipped: {error}")

    def columns(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each file with its first readable row."""
        for path in self._files():
            rows = stream_rows(path, self.split, self.config_name)
            first = next((row for _, row in rows if not isinstance(row, RowError)), None)
            if first is not None:
                yield path, first

    def _files(self) -> Iterator[str]:
        for path in self.paths:
            yield from data_files(path, self.split)

    def _in_order(self) -> Iterator[tuple[str, Format, Numbered]]:
        for path in self._files():
            format: Format | None = None
            for number, row in stream_rows(path, self.split, self.config_name):
                if format is None and not isinstance(row, RowError):
                    format = self._format.resolve(row, path)
                yield path, format or self._format, (number, row)


def stream_batches(
    stream: ComparisonStream,
    collate: Collate,
    epoch: int,
    start: int,
    *,
    rows: int,
    rank: int,
    world: int,
    workers: int,
) -> Iterator[tuple[int, PreferenceBatch]]:
    """Numbered batches of a stream from number `start` of `epoch` on; a number without a usable row is left out.

    A batch is made of `rows` consecutive rows, dealt out to the ranks; unusable ones leave it smaller. Which rows it
    holds does not depend on the number of workers: worker w of W makes every W-th batch.
    """
    chunks = _Chunks(stream, collate, epoch, start, rows, rank, world)
    loader: DataLoader[PreferenceBatch | None] = DataLoader(
        chunks, batch_size=None, num_workers=workers, generator=torch.Generator().manual_seed(run_seed())
    )
    return ((number, batch) for number, batch in enumerate(loader, start) if batch is not None)


class _Chunks(IterableDataset[PreferenceBatch | None]):
    """One item a chunk, None for a chunk without a usable row."""

    def __init__(
        self, stream: ComparisonStream, collate: Collate, epoch: int, start: int, rows: int, rank: int, world: int
    ) -> None:
        self._stream, self._collate, self._epoch, self._start = stream, collate, epoch, start
        self._rows, self._rank, self._world = rows, rank, world

    def __iter__(self) -> Iterator[PreferenceBatch | None]:
        worker = get_worker_info()
        lane, lanes = (worker.id, worker.num_workers) if worker else (0, 1)
        numbered = self._stream.rows(self._epoch)
        for number, chunk in enumerate(iter(lambda: list(islice(numbered, self._rows)), [])):
            if number >= self._start and (number - self._start) % lanes == lane:
                examples = self._stream.examples(chunk, self._rank, self._world)
                yield self._collate(examples, self._epoch) if examples else None


def _shuffled(rows: Iterator[Any], buffer: int, seed: int) -> Iterator[Any]:
    """Rows in an order shuffled within a sliding buffer."""
    draw = random.Random(seed)
    held = list(islice(rows, buffer))
    for row in rows:
        place = draw.randrange(len(held))
        held[place], row = row, held[place]
        yield row
    draw.shuffle(held)
    yield from held
