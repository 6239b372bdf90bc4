"""Sentences follow from the numbers, whichever way is better."""

import pytest
import torch

from modalign.modalities.quickstart.conclusions import beside_controls, comparison


@pytest.mark.parametrize(
    ("change", "wanted", "told"),
    [
        (0.5, 1, "A's size is above that of 'B': +0.500 [+0.500, +0.500], higher on 2 of 2 seeds."),
        (-0.5, 1, "A's size is below that of 'B': -0.500 [-0.500, -0.500], higher on 0 of 2 seeds."),
        (-0.5, -1, "A's size is below that of 'B': -0.500 [-0.500, -0.500], lower on 2 of 2 seeds."),
        (0.0, -1, "not measurably different from"),
    ],
)
def test_a_comparison_counts_the_seeds_on_which_it_is_better(change: float, wanted: int, told: str) -> None:
    assert told in comparison("A", "B", torch.full((2, 5), change), "size", wanted, places=3)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ((-1.0, -1.0, -1.0), "The gain of A survives every control."),
        ((1.0, -1.0, -1.0), "A shows no gain over the start."),
        ((-1.0, 1.0, -1.0), "labels drawn by coin do as well"),
        ((-1.0, -1.0, 1.0), "SFT on the chosen alone does as well"),
    ],
)
def test_where_less_is_better_a_fall_is_the_gain(changes: tuple[float, ...], verdict: str) -> None:
    others = ("start", "A, coin", "SFT")
    by_control = {other: torch.full((2, 5), change) for other, change in zip(others, changes, strict=True)}
    lines = beside_controls("A", by_control, "size", wanted=-1)
    assert all(f"that of {other!r}" in line for other, line in zip(others, lines, strict=False))
    assert verdict in lines[-1]
