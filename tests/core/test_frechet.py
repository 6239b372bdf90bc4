"""The Frechet distance against closed forms and scipy's root of a matrix, and where covariances have no full rank."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from modalign.core.frechet import frechet_distance, frechet_distance_of_moments


def drawn(count: int, size: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return scale * torch.randn(count, size, generator=generator, dtype=torch.float64) @ mix + shift


def test_of_independent_coordinates_it_is_the_sum_over_them() -> None:
    # N(m, diag(s^2)) of each: sum of (m1 - m2)^2 + (s1 - s2)^2
    means = torch.tensor([[1.0, 2.0], [0.0, 5.0]]).double()
    deviations = torch.tensor([[1.0, 3.0], [2.0, 0.5]]).double()
    first, second = (torch.diag(each**2) for each in deviations)
    assert frechet_distance_of_moments(means[0], first, means[1], second) == pytest.approx(1 + 9 + 1 + 6.25, rel=1e-12)


def test_it_is_scipys() -> None:
    first, second = drawn(200, 12, 0), drawn(203, 12, 1, scale=0.5, shift=1.0)
    covariances = np.cov(first.numpy(), rowvar=False), np.cov(second.numpy(), rowvar=False)
    gap = first.numpy().mean(0) - second.numpy().mean(0)
    expected = gap @ gap + np.trace(sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 24), st.integers(0, 10**6))
def test_equal_sets_are_at_0_and_order_does_not_matter_whatever_the_rank(
    count: int, other: int, size: int, seed: int
) -> None:
    first, second = drawn(count, size, seed), drawn(other, size, seed + 1, shift=0.5)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9 * float(first.square().sum()))
    there, back = frechet_distance(first, second), frechet_distance(second, first)
    assert there == pytest.approx(back, rel=1e-7, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(1, 40), st.integers(0, 10**6))
def test_a_sample_that_is_always_the_same_is_as_far_as_its_gap_and_the_others_variance(
    count: int, size: int, seed: int
) -> None:
    spread = drawn(count, size, seed)
    same = drawn(1, size, seed + 1, shift=3.0).expand(count, size)
    gap = float((spread.mean(0) - same[0]).square().sum())
    assert frechet_distance(same, spread) == pytest.approx(gap + float(spread.var(0).sum()), rel=1e-6)


def test_rounding_below_0_is_0() -> None:
    vectors = drawn(50, 30, 0, shift=100.0).float()
    assert 0 <= frechet_distance(vectors, vectors.clone()) < 1e-2 * math.prod(vectors.shape)
