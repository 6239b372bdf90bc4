"""Data read as a stream: no length, no index, and still the same batches after a restart."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from modalign.core.batch import Comparison, PreferenceBatch
from modalign.core.chunk import Chunk, ChunkReader, StreamRow
from modalign.core.data_report import DataReport
from modalign.core.errors import RowError, UserError
from modalign.core.extra_cells import check_extra_roles
from modalign.core.format import Format
from modalign.core.keys import key_seed, run_seed
from modalign.core.loader import Collate
from modalign.core.modality import Modality
from modalign.core.sources import data_files, stream_rows


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
        check: Refuses comparisons that do not say what the objective reads, by a RowError.

    Attributes:
        report: What became of the rows of the latest epoch that were read so far; the same object all along. It counts
            in the main process, also with data workers, and on each rank the rows that this rank was dealt.
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
        check: Callable[[Comparison], None] | None = None,
    ) -> None:
        check_extra_roles(extra_roles, modality)
        self.paths, self.split, self.config_name = paths, split, config_name
        self.reader = ChunkReader(modality, extra_roles, on_bad_row, check)
        self.buffer = buffer
        self.max_rows = max_rows
        self.report = DataReport()
        self._format = format
        self._counted = (-1, -1)
        self._told = True

    def rows(self, epoch: int) -> Iterator[StreamRow]:
        """Source, format and row, in the epoch's order."""
        rows = islice(self._in_order(), self.max_rows)
        return _shuffled(rows, self.buffer, key_seed(run_seed(), epoch, "stream")) if self.buffer else rows

    def count(self, epoch: int, number: int, report: DataReport) -> None:
        """Add the counts of chunk `number`; one that was counted before, as for a probe, does not count again."""
        if (epoch, number) <= self._counted:
            return
        if epoch > self._counted[0]:
            self.report.clear()
        self._counted, self._told = (epoch, number), False
        self.report.add(report)

    def tell(self) -> None:
        """Print the report, unless nothing was counted since it was last printed."""
        if not self._told:
            for line in self.report.lines():
                print(f"{self.report.share}: {line}")
        self._told = True

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

    def _in_order(self) -> Iterator[StreamRow]:
        for path in self._files():
            format: Format | None = None
            for number, row in stream_rows(path, self.split, self.config_name):
                if format is None and not isinstance(row, RowError):
                    format = self._format.resolve(row, path, self.reader.modality)
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

    What became of the rows is counted in the stream's report, which is printed at the end of the epoch.

    Raises:
        UserError: A row is unusable and the stream does not skip such rows, a file cannot be read, or the whole epoch
            has no usable row.
    """
    chunks = _Chunks(stream, collate, epoch, start, rows, rank, world)
    loader: DataLoader[Chunk] = DataLoader(
        chunks, batch_size=None, num_workers=workers, generator=torch.Generator().manual_seed(run_seed())
    )
    return _counted(stream, loader, epoch, start)


def _counted(
    stream: ComparisonStream, chunks: Iterable[Chunk], epoch: int, start: int
) -> Iterator[tuple[int, PreferenceBatch]]:
    found = False
    for number, chunk in enumerate(chunks, start):
        stream.count(epoch, number, chunk.report)
        if chunk.error is not None:
            raise chunk.error
        if chunk.batch is not None:
            found = True
            yield number, chunk.batch
    # An epoch that is gone on with may have had all its usable rows before.
    if not found and start == 0:
        raise _nothing_usable(stream)
    stream.tell()


def _nothing_usable(stream: ComparisonStream) -> UserError:
    paths = ", ".join(stream.paths)
    sources = stream.report.sources
    if not sources:
        return UserError(f"{paths}: no rows.", "Check that it is the right file, and whole.")
    lines = "\n".join(line for source in sources for line in source.lines())
    return UserError(f"No row of {paths} can be used.\n{lines}", "See the reasons.")


class _Chunks(IterableDataset[Chunk]):
    """The chunks that a data worker makes, of one rank."""

    def __init__(
        self, stream: ComparisonStream, collate: Collate, epoch: int, start: int, rows: int, rank: int, world: int
    ) -> None:
        self._stream, self._collate, self._epoch, self._start = stream, collate, epoch, start
        self._rows, self._rank, self._world = rows, rank, world

    def __iter__(self) -> Iterator[Chunk]:
        worker = get_worker_info()
        lane, lanes = (worker.id, worker.num_workers) if worker else (0, 1)
        numbered = self._stream.rows(self._epoch)
        chunks = iter(lambda: list(islice(numbered, self._rows)), [])
        try:
            for number, chunk in enumerate(chunks):
                if number >= self._start and (number - self._start) % lanes == lane:
                    yield self._made(chunk)
        except UserError as error:
            yield Chunk(None, DataReport(), error)

    def _made(self, rows: list[StreamRow]) -> Chunk:
        ranks = f", rank {self._rank} of {self._world}" if self._world > 1 else ""
        report = DataReport(share=f"epoch {self._epoch}{ranks}")
        examples = self._stream.reader.read(rows, self._rank, self._world, report)
        return Chunk(self._collate(examples, self._epoch) if examples else None, report)


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
