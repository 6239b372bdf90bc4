"""Distances of sets of sounds: Frechet's of their vectors, Kullback and Leibler's of their classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modalign.core.figures import Figure
from modalign.core.frechet import frechet_distance_of_moments

_Z = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""
_LEAST = 1e-12
"""Probabilities count as at least this."""


@dataclass(frozen=True)
class Moments:
    """Sums that mean and covariance are made of; float64.

    Attributes:
        count: Of vectors.
        total: `(D,)`: their sum.
        squares: `(D, D)`: the sum of their outer products.
    """

    count: int
    total: Tensor
    squares: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> "Moments":
        """Of `(N, D)` vectors."""
        return cls(len(vectors), vectors.sum(0), vectors.T @ vectors)

    def without(self, other: "Moments") -> "Moments":
        """Of the vectors that are not in a part."""
        return Moments(self.count - other.count, self.total - other.total, self.squares - other.squares)

    @property
    def mean(self) -> Tensor:
        """`(D,)`."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """`(D, D)`, unbiased."""
        return (self.squares - self.count * torch.outer(self.mean, self.mean)) / (self.count - 1)


def frechet(first: Moments, second: Moments) -> float:
    """See `modalign.core.frechet.frechet_distance_of_moments`."""
    return frechet_distance_of_moments(first.mean, first.covariance, second.mean, second.covariance)


def frechet_figure(reference: Sequence[Tensor], generated: Sequence[Tensor], blocks: int) -> Figure:
    """The Frechet distance of two sets, with a 95% interval by the jackknife.

    The interval is what leaving out a tenth of the sounds of either set does (the delete-a-group jackknife); it knows
    nothing of the distance's bias, which is upwards and larger the fewer sounds there are. The bootstrap would add to
    that bias.

    Args:
        reference: `(windows, D)` vectors of each sound, float64.
        generated: The same of the other set.
        blocks: How many parts are left out in turn, of each set; 0 for no interval.
    """
    centre = torch.cat(list(reference)).mean(0)  # products of what is far from 0 would lose digits
    sets = [[vectors - centre for vectors in sounds] for sounds in (reference, generated)]
    whole = [Moments.of(torch.cat(sounds)) for sounds in sets]
    value = frechet(whole[0], whole[1])
    parts = [_parts(sounds, blocks) for sounds in sets]
    if any(len(each) < 2 for each in parts):
        return Figure(value, of=len(generated))
    variance = _spread([frechet(whole[0].without(part), whole[1]) for part in parts[0]])
    variance += _spread([frechet(whole[0], whole[1].without(part)) for part in parts[1]])
    half = _Z * math.sqrt(variance)
    return Figure(value, max(value - half, 0.0), value + half, len(generated))


def _parts(sounds: Sequence[Tensor], blocks: int) -> list[Moments]:
    """Every `blocks`th sound makes a part; none are made where a set without one would have a single sound."""
    count = min(blocks, len(sounds))
    if len(sounds) < 4:
        return []
    return [Moments.of(torch.cat(list(sounds[start::count]))) for start in range(count)]


def _spread(values: Sequence[float]) -> float:
    """The jackknife's variance."""
    mean = math.fsum(values) / len(values)
    return (len(values) - 1) / len(values) * math.fsum((value - mean) ** 2 for value in values)


def divergence(reference: Tensor, generated: Tensor) -> float:
    """`KL(reference || generated)` in nats.

    Args:
        reference: `(K,)` probabilities, float64.
        generated: The same.
    """
    return float((reference * (_log(reference) - _log(generated))).sum())


def inception_score(probabilities: Tensor) -> float:
    """`exp` of the mean divergence of each sound's classes from the set's: how clear and how varied they are.

    Args:
        probabilities: `(N, K)`, float64.
    """
    mean = probabilities.mean(0)
    return math.exp((probabilities * (_log(probabilities) - _log(mean))).sum(-1).mean())


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=_LEAST).log()
