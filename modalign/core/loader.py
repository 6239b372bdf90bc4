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
    """Where in the data a run stands: `batches` of `epoch` have been trained on."""

    epoch: int = 0
    batches: int = 0

    def start_of(self, epoch: int) -> int:
        return self.batches if epoch == self.epoch else 0


class BatchLoader:
    """Batches of one epoch after another, with their windows.

    Lightning calls `set_epoch` through `sampler` before it iterates.

    Args:
        batches: Makes the epoch's batches from a start on.
        position: Where to start; only the epoch it names starts late.
        window_size: How many batches make one optimiser step.
        limit: After how many batches of an epoch Lightning stops, None for never.
    """

    batch_sampler = None  # Lightning looks for one beside `sampler`

    def __init__(
        self,
        batches: Callable[[int, int], Iterable[PreferenceBatch]],
        position: Position | None = None,
        window_size: Callable[[], int] = lambda: 1,
        limit: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._batches = batches
        self._position = position or Position()
        self._window_size = window_size
        self._limit = limit
        self._epoch = self._position.epoch

    @property
    def sampler(self) -> "BatchLoader":
        return self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[PreferenceBatch]:
        epoch, start = self._epoch, self._position.start_of(self._epoch)
        batches = iter(self._batches(epoch, start))
        limit = self._limit()
        stop = None if limit is None or limit == float("inf") else max(0, int(limit) - start)
        batches = islice(batches, stop)
        while micro_batches := list(islice(batches, self._window_size())):
            window = Window.of(micro_batches)
            for batch in micro_batches:
                batch.window = window
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
            batch.fingerprints = tuple(content_hash([e.comparison.roles, e.cells]) for e in examples)
        return batch


def map_batches(
    dataset: Dataset[Example], collate: Collate, order: BatchOrder, epoch: int, start: int, workers: int
) -> DataLoader[PreferenceBatch]:
    """Batches of a map-style data set from number `start` of `epoch` on."""
    loader: DataLoader[Any] = DataLoader(
        _Picked(dataset),
        batch_sampler=_Batches(order, epoch, start),
        collate_fn=_AtEpoch(collate, epoch),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        # Without a generator of its own, a DataLoader draws from the global one that dropout uses.
        generator=torch.Generator().manual_seed(order.seed),
    )
    return loader


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
