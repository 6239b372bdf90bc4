"""Figures of an evaluation, and how sure one can be of them."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modalign.core.keys import generator

RESAMPLES = 2000
_AT_ONCE = 50
_Z = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""


@dataclass(frozen=True)
class Ratio:
    """A sum over rows divided by another sum over the same rows: a share, a mean, a precision, an F1.

    Attributes:
        above: Each row's part of the numerator.
        below: Each row's part of the denominator; 1 for a mean over rows.
        groups: What each row belongs to; rows of a group (questions on one image) are no independent draws. Every row
            is its own where it is None.
    """

    above: Sequence[float]
    below: Sequence[float]
    groups: Sequence[Hashable] | None = None

    @classmethod
    def mean(cls, values: Sequence[float], groups: Sequence[Hashable] | None = None) -> "Ratio":
        """The mean of one value a row."""
        return cls(values, [1.0] * len(values), groups)

    @property
    def is_share(self) -> bool:
        """Whether it is a share of independent rows that count in full or not at all."""
        yes_or_no = all(a in (0, 1) and b in (0, 1) and a <= b for a, b in zip(self.above, self.below, strict=True))
        return yes_or_no and (self.groups is None or len(set(self.groups)) == len(self.groups))


@dataclass(frozen=True)
class Figure:
    """A number with its 95% interval.

    Attributes:
        value: None where nothing counts (a precision without a single yes).
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        of: The sum of denominators: how much the value is a mean over; None for a plain number.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    of: float | None = None

    def __str__(self) -> str:
        return self.text()

    def text(self, signed: bool = False) -> str:
        """`0.812 [0.790, 0.833] of 500`.

        Args:
            signed: Whether to write a plus, as for a difference.
        """
        if self.value is None:
            return "none"
        form = f"{'+' if signed else ''}.3f" if self.of is not None or signed else ".6g"
        interval = "" if self.low is None or self.high is None else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{self.value:{form}}{interval}" + (f" of {self.of:g}" if self.of is not None else "")


Measure = Ratio | Figure | float
"""What a task finds: what an interval can be made of, a number with its own, or a plain number."""


def figure(measure: Measure) -> Figure:
    """The value of a measure and its interval: Wilson's for a share of independent rows, else the bootstrap's.

    The bootstrap draws groups with replacement (Field and Welsh, JRSS B 69(3), 2007), 2,000 times, by a fixed seed.
    Wilson's interval (JASA 22, 1927) keeps a width where all rows agree.
    """
    if isinstance(measure, Figure):
        return measure
    if not isinstance(measure, Ratio):
        return Figure(float(measure))
    above, below = math.fsum(measure.above), math.fsum(measure.below)
    if not below:
        return Figure(None, of=0.0)
    low, high = wilson(above, below) if measure.is_share else _interval(_resampled([measure])[0])
    return Figure(above / below, low, high, below)


def difference(before: Measure, after: Measure) -> Figure:
    """How much larger a measure is after than before; where both are of the same groups, by a paired bootstrap."""
    values = (figure(before).value, figure(after).value)
    if values[0] is None or values[1] is None:
        return Figure(None)
    change = values[1] - values[0]
    if not isinstance(before, Ratio) or not isinstance(after, Ratio) or set(_keys(before)) != set(_keys(after)):
        return Figure(change)
    first, second = _resampled([before, after])
    return Figure(change, *_interval(second - first))


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    share, spread = successes / trials, _Z**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def _keys(ratio: Ratio) -> Sequence[Hashable]:
    return range(len(ratio.above)) if ratio.groups is None else ratio.groups


def _resampled(ratios: Sequence[Ratio]) -> Tensor:
    """`(len(ratios), RESAMPLES)` values over the same draws of groups; NaN where a draw's denominator is 0."""
    places = {key: place for place, key in enumerate(dict.fromkeys(_keys(ratios[0])))}
    sums = torch.zeros(len(places), len(ratios), 2, dtype=torch.float64)
    for column, ratio in enumerate(ratios):
        rows = torch.tensor([places[key] for key in _keys(ratio)])
        parts = torch.tensor([ratio.above, ratio.below], dtype=torch.float64).T
        sums[:, column].index_add_(0, rows, parts)
    draw = generator("bootstrap of figures")
    drawn = torch.cat([_counts(len(places), draw) @ sums.flatten(1) for _ in range(RESAMPLES // _AT_ONCE)])
    above, below = drawn.view(RESAMPLES, len(ratios), 2).unbind(-1)
    return (above / below).T


def _counts(size: int, draw: torch.Generator) -> Tensor:
    """`(_AT_ONCE, size)`: how often each of `size` groups comes up in as many draws with replacement."""
    drawn = torch.randint(size, (_AT_ONCE, size), generator=draw)
    return torch.zeros(_AT_ONCE, size, dtype=torch.float64).scatter_add(1, drawn, torch.ones_like(drawn).double())


def _interval(values: Tensor) -> tuple[float, float]:
    low, high = values.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def figures(measures: Mapping[str, Measure]) -> dict[str, Figure]:
    """Each measure's figure, by name."""
    return {name: figure(measure) for name, measure in measures.items()}


def compared(measures: Mapping[str, Mapping[str, Measure]]) -> dict[str, dict[str, Figure]]:
    """The figures of each column, then what changed from the first to each other one, `OTHER - FIRST`.

    Args:
        measures: By column, then by name; what others are compared to comes first.
    """
    found = {title: figures(column) for title, column in measures.items()}
    first, *others = measures
    for other in others:
        found[f"{other} - {first}"] = {
            name: difference(before, measures[other][name])
            for name, before in measures[first].items()
            if name in measures[other]
        }
    return found
