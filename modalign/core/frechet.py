"""The Frechet distance of two normal distributions, by which sets of samples are held against real ones."""

import torch
from torch import Tensor


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Between the normal distributions that have the means and covariances of two sets of vectors.

    Args:
        first: `(N, D)`; N at least 2.
        second: `(M, D)`; M at least 2.
    """
    return frechet_distance_of_moments(first.mean(0), _covariance(first), second.mean(0), _covariance(second))


def frechet_distance_of_moments(
    first_mean: Tensor, first_covariance: Tensor, second_mean: Tensor, second_covariance: Tensor
) -> float:
    """`|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))` (Dowson and Landau 1982; Heusel et al. 2017, arXiv 1706.08500).

    The trace of the root is taken as the sum of the singular values of `C1^(1/2) C2^(1/2)`. The eigenvalues of the
    product, which is not symmetric, would be the shorter way, but are not always found where a covariance has no full
    rank: fewer samples than dimensions, or equal samples.

    Args:
        first_mean: `(D,)`, float64 for more than a few digits.
        first_covariance: `(D, D)`.
        second_mean: `(D,)`.
        second_covariance: `(D, D)`.

    Returns:
        At least 0.
    """
    gap = (first_mean - second_mean).square().sum()
    spread = first_covariance.trace() + second_covariance.trace()
    overlap = torch.linalg.svdvals(_square_root(first_covariance) @ _square_root(second_covariance)).sum()
    return max(float(gap + spread - 2 * overlap), 0.0)


def _square_root(covariance: Tensor) -> Tensor:
    """`(D, D)`; eigenvalues below 0 are rounding."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    return root


def _covariance(vectors: Tensor) -> Tensor:
    """`(D, D)`, unbiased; `torch.cov` has no dimensions where D is 1."""
    return torch.cov(vectors.T).reshape(vectors.shape[1], vectors.shape[1])
