"""Distances of sets against closed forms and other libraries."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from modalign.modalities.audio.tasks.distances import Moments, divergence, frechet, frechet_figure, inception_score


def drawn(count, size, seed, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return scale * torch.randn(count, size, generator=generator, dtype=torch.float64) @ mix + shift


def by_scipy(first, second):
    a, b = first.numpy(), second.numpy()
    means = a.mean(0) - b.mean(0)
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(means @ means + np.trace(covariances[0] + covariances[1] - 2 * root))


def test_moments_of_a_sample_are_its_mean_and_unbiased_covariance():
    vectors = drawn(20, 3, 0, shift=2.0)
    whole, part = Moments.of(vectors), Moments.of(vectors[:7])
    torch.testing.assert_close(whole.mean, vectors.mean(0))
    torch.testing.assert_close(whole.covariance, torch.cov(vectors.T))
    torch.testing.assert_close(whole.without(part).covariance, torch.cov(vectors[7:].T))


@pytest.mark.parametrize("count", [200, 9], ids=["full rank", "rank-deficient"])
def test_frechet_distance_is_scipys(count):
    first, second = drawn(count, 12, 0), drawn(count + 3, 12, 1, scale=0.5, shift=1.0)
    found = frechet(Moments.of(first), Moments.of(second))
    assert found == pytest.approx(by_scipy(first, second), rel=1e-4)


def test_frechet_figure_is_of_all_windows_and_does_not_mind_what_is_far_from_zero():
    first, second = drawn(60, 4, 0), drawn(40, 4, 1)
    figure = frechet_figure(first.split(3), second.split(2), 10)
    assert figure.value == pytest.approx(by_scipy(first, second), rel=1e-6)
    assert figure.of == 20
    far = frechet_figure((first + 1e4).split(3), (second + 1e4).split(2), 10)
    assert far.value == pytest.approx(figure.value, rel=1e-6)


def test_equal_sets_have_no_distance():
    vectors = drawn(30, 6, 0)
    assert frechet_figure(vectors.split(1), vectors.split(1), 0).value == pytest.approx(0, abs=1e-6)


def test_the_interval_is_the_jackknifes_by_hand():
    first, second = drawn(12, 2, 0).split(1), drawn(12, 2, 1, shift=3.0).split(1)
    figure = frechet_figure(first, second, 4)
    variance = 0.0
    for left_out in ("first", "second"):
        values = []
        for start in range(4):
            kept = [each for place, each in enumerate(first if left_out == "first" else second) if place % 4 != start]
            pair = (kept, second) if left_out == "first" else (first, kept)
            values.append(by_scipy(torch.cat(list(pair[0])), torch.cat(list(pair[1]))))
        variance += 3 / 4 * sum((value - np.mean(values)) ** 2 for value in values)
    assert figure.high - figure.value == pytest.approx(1.96 * math.sqrt(variance), rel=1e-3)
    assert figure.low == pytest.approx(max(figure.value - (figure.high - figure.value), 0))
    assert frechet_figure(first, second, 0).low is None
    assert frechet_figure(first[:3], second, 4).low is None


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    # The closed form of one number a sound: (m1 - m2)^2 + (s1 - s2)^2 = 4 + 1.
    held = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        real = torch.randn(200, 1, generator=generator, dtype=torch.float64)
        made = 2 + 2 * torch.randn(200, 1, generator=generator, dtype=torch.float64)
        figure = frechet_figure(real.split(1), made.split(1), 10)
        held += figure.low <= 5 <= figure.high
    assert held >= 51


def test_divergence_and_inception_score_by_hand():
    half, sure = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.9, 0.1]).double()
    assert divergence(half, sure) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    assert divergence(sure, half) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert divergence(sure, sure) == 0
    assert math.isfinite(divergence(half, torch.tensor([1.0, 0.0]).double()))
    assert inception_score(torch.eye(3).double()) == pytest.approx(3)
    assert inception_score(half.expand(5, 2)) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(4, 15), st.integers(4, 15), st.integers(0, 10**6))
def test_distances_are_symmetric_and_not_negative(size, first, second, seed):
    a, b = drawn(first, size, seed), drawn(second, size, seed + 1)
    there = frechet_figure(a.split(1), b.split(1), 2)
    back = frechet_figure(b.split(1), a.split(1), 2)
    assert there.value >= 0
    assert there.value == pytest.approx(back.value, rel=1e-3, abs=1e-5)
    assert there.low <= there.value <= there.high
