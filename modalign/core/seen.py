"""Which training rows a run will see, so that nothing is computed ahead for the others."""

from collections.abc import Iterable, Iterator

import torch

from modalign.core.errors import ConfigError
from modalign.core.order import BatchOrder
from modalign.core.run_length import RunLength


def seen_rows(order: BatchOrder, length: RunLength) -> list[int]:
    """The rows that any rank sees in any epoch, sorted.

    Args:
        order: Of any of the ranks.
        length: Of the whole run, whether or not it is resumed.
    """
    return [row for _, rows in drawn_rows(order, length, cycle=1) for row in rows]


def drawn_epochs(order: BatchOrder, length: RunLength, cycle: int | None) -> int:
    """As how many epochs the training data differs.

    Args:
        order: Of any of the ranks.
        length: Of the whole run, whether or not it is resumed.
        cycle: After how many epochs a row's draws repeat; None for never.

    Raises:
        ConfigError: There is no end to them.
    """
    epochs = length.epochs(len(order))
    if epochs is not None:
        return min(cycle or epochs, epochs)
    if cycle is None:
        raise ConfigError(
            "A cached reference must know how many epochs there will be.",
            "Set trainer.max_epochs or trainer.max_steps, or use model.reference: frozen.",
        )
    return cycle


def drawn_rows(order: BatchOrder, length: RunLength, cycle: int | None) -> Iterator[tuple[int, list[int]]]:
    """The epochs that differ, each with the rows that any rank sees with that epoch's draws, sorted.

    Takes what `drawn_epochs` takes, and raises what it raises.
    """
    epochs = length.epochs(len(order))
    for first in range(drawn_epochs(order, length, cycle)):
        if epochs is None:
            yield first, list(range(order.rows))
        else:
            yield first, _union(order, length, range(first, epochs, cycle or epochs))


def _union(order: BatchOrder, length: RunLength, epochs: Iterable[int]) -> list[int]:
    seen = torch.zeros(order.rows, dtype=torch.bool)
    for epoch in epochs:
        seen[order.first_rows(epoch, length.batches(epoch, len(order)))] = True
        if seen.all():
            break
    rows: list[int] = seen.nonzero().flatten().tolist()
    return rows
