"""Means over seeds and prompts, and how sure one can be of them."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from modalign.core.keys import generator

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and prompts.

    Attributes:
        mean: The estimate.
        low: Lower end of its 95% interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """Of `(S, P)` values; see `interval`."""
        return cls(values.mean().item(), *interval(values))

    def __str__(self) -> str:
        return self.text()

    def text(self, places: int = 2, signed: bool = False) -> str:
        """The mean with its interval.

        Args:
            places: Decimal places.
            signed: Whether to write a plus, as for a difference.
        """
        form = f"{'+' if signed else ''}.{places}f"
        return f"{self.mean:{form}} [{self.low:{form}}, {self.high:{form}}]"

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves 0 out, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def estimates_by_seed(values: Tensor) -> dict[str, object]:
    """The estimate of `(S, P)` values, and under `by_seed` that of every seed alone, as JSON takes them."""
    return {**asdict(Estimate.of(values)), "by_seed": [asdict(Estimate.of(seed[None])) for seed in values]}


def interval(values: Tensor, coverage: float = 0.95) -> tuple[float, float]:
    """Where the mean of `(S, P)` values lies, were other seeds and other prompts drawn.

    The pigeonhole bootstrap (Owen, Annals of Applied Statistics 1(2), 2007): seeds and prompts are drawn anew, each
    with replacement; of a single seed, prompts alone. Few seeds show the spread between seeds only roughly.
    """
    draw = generator("pigeonhole bootstrap")
    seeds, prompts = values.shape
    means = torch.einsum("rs,sp,rp->r", _counts(seeds, draw), values.double(), _counts(prompts, draw))
    tail = (1 - coverage) / 2
    bounds = (means / values.numel()).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64))
    low, high = bounds.tolist()
    return low, high


def win_shares(ours: Tensor, theirs: Tensor) -> Tensor:
    """1 where ours is larger, 0 where theirs is, 0.5 for a tie."""
    return (ours > theirs).float() + 0.5 * (ours == theirs).float()


def _counts(size: int, draw: torch.Generator) -> Tensor:
    """`(RESAMPLES, size)`: how often each of `size` things comes up in as many draws with replacement."""
    drawn = torch.randint(size, (RESAMPLES, size), generator=draw)
    return torch.zeros(RESAMPLES, size, dtype=torch.float64).scatter_add(1, drawn, torch.ones_like(drawn).double())
