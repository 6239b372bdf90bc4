"""Weighted means of metrics, exact over batches of any size and over ranks."""

from collections.abc import Mapping

import torch
from torch import Tensor

from modalign.core.objectives.base import Metric


class Meter:
    """Collects sums and weights; a mean is made when asked for, with one reduction for all of them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, metrics: Mapping[str, Metric], weight: Tensor) -> None:
        """Count the rows of a batch, each as much as its `(B,)` weight."""
        for name, metric in metrics.items():
            rows = weight if metric.where is None else weight * metric.where
            # Rows that do not count may hold NaN, and 0 * NaN is NaN.
            values = torch.where(rows > 0, metric.values.detach(), 0)
            self.add_sum(name, (values * rows).sum(), rows.sum())

    def add_sum(self, name: str, total: Tensor, weight: Tensor) -> None:
        """Count a total of what weighs `weight`."""
        pair = torch.stack([total.detach().double(), weight.detach().double()])
        self._sums[name] = self._sums[name].to(pair.device) + pair if name in self._sums else pair

    def means(self) -> dict[str, float]:
        """The means over all ranks, leaving out what nothing was counted for; then start anew.

        On several ranks all must call it.
        """
        totals = {name: pair.tolist() for name, pair in self._over_ranks().items()}
        self._sums = {}
        return {name: total / weight for name, (total, weight) in totals.items() if weight}

    def state_dict(self) -> dict[str, Tensor]:
        """What was counted on all ranks. On several ranks all must call it."""
        return self._over_ranks()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state, which holds all ranks' counts and is therefore taken over by one of them."""
        self._sums = dict(state) if not _distributed() or torch.distributed.get_rank() == 0 else {}

    def _over_ranks(self) -> dict[str, Tensor]:
        names = _on_any_rank(sorted(self._sums))
        if not names:
            return {}
        device = next(iter(self._sums.values())).device if self._sums else torch.device("cpu")
        nothing = torch.zeros(2, dtype=torch.float64, device=device)
        table = torch.stack([self._sums.get(name, nothing) for name in names])
        if _distributed():
            torch.distributed.all_reduce(table)
        return dict(zip(names, table, strict=True))


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _on_any_rank(names: list[str]) -> list[str]:
    """Ranks may have seen different roles, hence counted different names."""
    if not _distributed():
        return names
    gathered: list[list[str]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, names)
    return sorted({name for some in gathered for name in some})
