"""Which rows make up which batch: a pure function of (seed, epoch, rank), so that any batch can be made again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modalign.core.keys import generator


@dataclass(frozen=True)
class Pick:
    """A row for a batch.

    Attributes:
        index: The row's number in the data set.
        filler: The row only keeps a rank busy that would have none, and counts for nothing.
    """

    index: int
    filler: bool = False


@dataclass(frozen=True)
class BatchOrder:
    """Batches of one rank.

    A global batch is `batch_size * world` consecutive rows of the epoch's order, dealt out to the ranks in turn. Every
    rank gets the same number of batches; a rank that gets no row of the last one gets a filler.

    Attributes:
        rows: How many rows there are.
        batch_size: Rows a batch on each rank.
        shuffle: Whether each epoch has an order of its own.
        seed: The run's seed.
        rank: This rank.
        world: How many ranks there are.
        only: The numbers of those rows in the data set, where it has others too.
    """

    rows: int
    batch_size: int
    shuffle: bool = True
    seed: int = 0
    rank: int = 0
    world: int = 1
    only: Sequence[int] | None = None

    def __len__(self) -> int:
        return -(-self.rows // (self.batch_size * self.world))

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[Pick]]:
        """The epoch's batches from number `start` on."""
        order = self._order(epoch)
        whole = self.batch_size * self.world
        for number in range(start, len(self)):
            rows = order[number * whole : (number + 1) * whole]
            mine = rows[self.rank :: self.world].tolist()
            yield [Pick(index) for index in mine] or [Pick(int(rows[0]), filler=True)]

    def first_rows(self, epoch: int, batches: int) -> Tensor:
        """The rows of the epoch's first `batches` batches, of all ranks."""
        return self._order(epoch)[: batches * self.batch_size * self.world]

    def _order(self, epoch: int) -> Tensor:
        numbers = torch.arange(self.rows) if self.only is None else torch.tensor(self.only, dtype=torch.int64)
        if not self.shuffle:
            return numbers
        return numbers[torch.randperm(self.rows, generator=generator(self.seed, epoch, "order"))]
