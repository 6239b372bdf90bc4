"""Figures of evaluations: intervals against what is known of Wilson's and of the bootstrap."""

import math
from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.figures import Figure, Ratio, difference, figure, figures, wilson


@given(trials=st.integers(1, 500), data=st.data())
def test_wilsons_bounds_are_where_the_share_is_just_not_refused(trials: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, trials)) / trials
    low, high = wilson(share * trials, trials)
    assert 0 <= low <= share <= high <= 1
    for bound in (low, high):
        error = math.sqrt(bound * (1 - bound) / trials)
        assert abs(share - bound) == pytest.approx(NormalDist().inv_cdf(0.975) * error, abs=1e-7)


def test_wilsons_interval_of_nine_in_ten() -> None:
    assert wilson(9, 10) == pytest.approx((0.595850, 0.982124), abs=1e-6)  # scipy.stats.binomtest(9, 10)


def test_a_share_has_wilsons_interval() -> None:
    found = figure(Ratio.mean([1.0] * 9 + [0.0]))
    assert (found.value, found.of) == (0.9, 10)
    assert (found.low, found.high) == wilson(9, 10)
    # Rows that do not count are none of its trials.
    assert figure(Ratio([1.0, 0.0, 0.0], [1.0, 1.0, 0.0])) == Figure(0.5, *wilson(1, 2), 2.0)


def test_the_bootstraps_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = figure(Ratio.mean(values.tolist()))
    error = 1.96 * float(values.std()) / math.sqrt(400)
    assert found.value == pytest.approx(float(values.mean()))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * error, rel=0.08)
    assert found.low < float(values.mean()) < found.high
    assert figure(Ratio.mean(values.tolist())) == found


def test_rows_of_a_group_are_drawn_together() -> None:
    # Six equal rows in each of 50 groups say no more than one.
    values = [float(group % 2) for group in range(50) for _ in range(6)]
    groups = [group for group in range(50) for _ in range(6)]
    apart, together = figure(Ratio.mean(values)), figure(Ratio.mean(values, groups))
    assert apart.value == together.value == 0.5
    assert together.high is not None
    assert together.low is not None
    assert together.high - together.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(50), rel=0.12)
    assert apart.high is not None
    assert apart.low is not None
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_ratio_is_of_sums() -> None:
    found = figure(Ratio([1.0, 4.0, 0.0], [2.0, 8.0, 5.0]))
    assert (found.value, found.of) == (5 / 15, 15)
    assert figure(Ratio([0.0, 0.0], [0.0, 0.0])) == Figure(None, of=0.0)
    assert figure(7) == Figure(7.0)


def test_a_difference_is_of_the_same_draws() -> None:
    draw = torch.Generator().manual_seed(0)
    before = torch.randn(200, generator=draw, dtype=torch.float64)
    after = before + 0.1 + 0.01 * torch.randn(200, generator=draw, dtype=torch.float64)
    found = difference(Ratio.mean(before.tolist()), Ratio.mean(after.tolist()))
    assert found.value == pytest.approx(float((after - before).mean()))
    assert found.low is not None
    assert found.high is not None
    assert found.low > 0.09
    assert found.high < 0.11
    assert difference(Ratio.mean([1.0, 0.0]), Ratio.mean([1.0])) == Figure(0.5)
    assert difference(Ratio([], []), Ratio.mean([1.0])) == Figure(None)
    assert difference(3, 5) == Figure(2.0)


def test_figures_are_told_with_intervals_and_counts() -> None:
    assert figure(Ratio.mean([1.0] * 9 + [0.0])).text() == "0.900 [0.596, 0.982] of 10"
    assert Figure(0.05, -0.01, 0.11).text(signed=True) == "+0.050 [-0.010, +0.110]"
    assert str(Figure(12.0)) == "12"
    assert str(Figure(None, of=0.0)) == "none"
    assert list(figures({"a": 1, "b": 2.5}).values()) == [Figure(1.0), Figure(2.5)]
