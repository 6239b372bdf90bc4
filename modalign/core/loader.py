"""Loaders that Lightning iterates: they start anywhere in an epoch and know each optimiser step's totals."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from modalign.core.batch import Example, PreferenceBatch, Window
from modalign.core.content import content_hash
from modalign.core.modality import Modality
from modalign.core.order import BatchOrder, Pick


@dataclass
class Position:
    """Where in the data a run stands.

    Attributes:
        epoch: The epoch under way.
        batches: How many of its batches were trained on.
        next: The number of the batch that comes next; more than `batches` where a stream had batches without a
            usable row.
    """

    epoch: int = 0
    batches: int = 0
    next: int = 0


Numbered = tuple[int, PreferenceBatch]


class BatchLoader:
    """Batches of one epoch after another, with their windows.

    Lightning calls `set_epoch` through `sampler` before it iterates.

    Args:
        batches: Makes an epoch's numbered batches, from a number on.
        position: Where to start; only the epoch it names starts late.
        window_size: How many batches make one optimiser step.
        limit: After how many batches of an epoch Lightning stops, None for never.
    """

    batch_sampler = None  # Lightning looks for one beside `sampler`

    def __init__(
        self,
        batches: Callable[[int, int], Iterable[Numbered]],
        position: Position | None = None,
        window_size: Callable[[], int] = lambda: 1,
        limit: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._batches = batches
        self._position = position or Position()
        self._window_size = window_size
        self._limit = limit
        self._epoch = self._position.epoch
        self._handed_over: list[int] = []

    @property
    def sampler(self) -> "BatchLoader":
        return self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def position(self, epoch: int, batches: int) -> Position:
        """The position once `batches` batches of `epoch` have been trained on; workers may have read further."""
        start = self._start(epoch)
        trained = batches - start.batches
        return Position(epoch, batches, self._handed_over[trained - 1] + 1 if trained > 0 else start.next)

    def _start(self, epoch: int) -> Position:
        return self._position if epoch == self._position.epoch else Position(epoch)

    def __iter__(self) -> Iterator[PreferenceBatch]:
        start = self._start(self._epoch)
        self._handed_over = []
        limit = self._limit()
        stop = None if limit is None or limit == float("inf") else max(0, int(limit) - start.batches)
        batches = islice(self._batches(self._epoch, start.next), stop)
        while micro_batches := list(islice(batches, self._window_size())):
            window = Window.of([batch for _, batch in micro_batches])
            for number, batch in micro_batches:
                batch.window = window
                self._handed_over.append(number)
                yield batch


class SizedBatchLoader(BatchLoader):
    """A `BatchLoader` that knows how many batches an epoch has."""

    def __init__(self, length: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._length = length

    def __len__(self) -> int:
        return self._length


class Collate:
    """Examples to a batch, in a data worker.

    Args:
        modality: Collates.
        fingerprints: Whether batches carry their rows' content hashes.
        roles: Cells of other roles are left out; None keeps all.
    """

    def __init__(self, modality: Modality, fingerprints: bool = False, roles: frozenset[str] | None = None) -> None:
        self.modality = modality
        self.fingerprints = fingerprints
        self.roles = roles

    def __call__(self, picked: list[tuple[Pick, Example]], epoch: int = 0) -> PreferenceBatch:
        examples = [_weightless(example) if pick.filler else example for pick, example in picked]
        if self.roles is not None:
            examples = [example.only(self.roles) for example in examples]
        batch = self.modality.collate(examples, [pick.index for pick, _ in picked], epoch)
        if self.fingerprints:
            batch.fingerprints = tuple(
                content_hash([example.comparison.roles, example.cells, self.modality.draw_key(pick.index, epoch)])
                for (pick, _), example in zip(picked, examples, strict=True)
            )
        return batch


def map_batches(
    dataset: Dataset[Example], collate: Collate, order: BatchOrder, epoch: int, start: int, workers: int
) -> Iterator[Numbered]:
    """Numbered batches of a map-style data set from number `start` of `epoch` on."""
    loader: DataLoader[Any] = DataLoader(
        _Picked(dataset),
        batch_sampler=_Batches(order, epoch, start),
        collate_fn=_AtEpoch(collate, epoch),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        # Without a generator of its own, a DataLoader draws from the global one that dropout uses.
        generator=torch.Generator().manual_seed(order.seed),
    )
    return enumerate(loader, start)


def _weightless(example: Example) -> Example:
    return replace(example, comparison=replace(example.comparison, weight=0.0))


class _Picked(Dataset[tuple[Pick, Example]]):
    def __init__(self, dataset: Dataset[Example]) -> None:
        self._dataset = dataset

    def __getitem__(self, pick: Pick) -> tuple[Pick, Example]:
        return pick, self._dataset[pick.index]


class _Batches:
    def __init__(self, order: BatchOrder, epoch: int, start: int) -> None:
        self._order, self._epoch, self._start = order, epoch, start

    def __iter__(self) -> Iterator[list[Pick]]:
        return self._order.batches(self._epoch, self._start)

    def __len__(self) -> int:
        return max(0, len(self._order) - self._start)


class _AtEpoch:
    def __init__(self, collate: Collate, epoch: int) -> None:
        self._collate, self._epoch = collate, epoch

    def __call__(self, picked: list[tuple[Pick, Example]]) -> PreferenceBatch:
        return self._collate(picked, self._epoch)
