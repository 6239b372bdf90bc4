"""Means and their intervals, against closed forms."""

import math

import pytest
import torch

from modalign.modalities.quickstart.estimates import Estimate, interval, win_shares


def test_wins_count_ties_half() -> None:
    shares = win_shares(torch.tensor([2.0, 1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, 3.0, -1.0]))
    assert shares.tolist() == [1.0, 0.5, 0.0, 0.5]


def test_interval_of_a_constant_is_a_point() -> None:
    assert interval(torch.full((3, 5), 0.25)) == (0.25, 0.25)


def test_interval_of_one_seed_is_that_of_the_prompts() -> None:
    values = torch.randn(1, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = interval(values)
    half = 1.96 * values.std().item() / math.sqrt(400)
    assert (low + high) / 2 == pytest.approx(values.mean().item(), abs=0.1 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_interval_spans_seeds_that_disagree() -> None:
    # Of three draws with replacement, all are the first seed with probability 1/27, more than the tail of 2.5%.
    seeds = torch.tensor([[-1.0], [0.0], [1.0]]).expand(3, 200)
    assert interval(seeds) == (-1.0, 1.0)


def test_narrower_coverage_is_inside_the_wider() -> None:
    values = torch.rand(3, 50, generator=torch.Generator().manual_seed(1))
    (wide_low, wide_high), (low, high) = interval(values, 0.95), interval(values, 0.5)
    assert wide_low < low < values.mean().item() < high < wide_high


def test_estimates_are_printed_with_their_intervals() -> None:
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.50 [0.25, 0.75]"
    assert Estimate(0.5, -0.25, 0.75).text(signed=True) == "+0.50 [-0.25, +0.75]"
    assert Estimate(0.5, 0.25, 0.75).text(3) == "0.500 [0.250, 0.750]"
