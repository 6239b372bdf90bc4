"""The conclusions follow from the numbers, good or bad."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.quickstart.policies import IMITATION, START, policies
from modalign.modalities.quickstart.seeds import Learned, SeedResult
from modalign.modalities.vision_language.quickstart.experiment import Task
from modalign.modalities.vision_language.quickstart.measurement import Measured
from modalign.modalities.vision_language.quickstart.plan import TITLES, Plan
from modalign.modalities.vision_language.quickstart.preference import Pairs
from modalign.modalities.vision_language.quickstart.summary import Results, conclusions, ratio_values
from modalign.modalities.vision_language.quickstart.world import World

PICTURES = 60
COIN = "DPO, coin"


def results(rates: dict[str, float], recall: float = 0.5) -> Results:
    """Three seeds whose policies have these hallucination rates, up to noise; the recall is that of DPO."""
    noise = torch.Generator().manual_seed(0)
    seeds = []
    for seed in range(3):
        measured = {}
        for title, rate in rates.items():
            mentioned = torch.randint(1, 4, (PICTURES,), generator=noise).float()
            there = torch.randint(1, 4, (PICTURES,), generator=noise).float()
            wobble = 1 + 0.05 * torch.randn(PICTURES, generator=noise)
            zero, pairs = torch.zeros(PICTURES), torch.full((seed + 2,), 0.25)
            found = there * (recall if title == DPO else 0.5) * wobble
            measured[title] = Measured(
                mentioned, mentioned * rate * wobble, found, there, zero, zero, zero, zero, pairs, pairs, []
            )
        seeds.append(SeedResult(Learned(seed, Pairs([], [], 0), measured[START]), measured))
    plan = Plan()
    trained = policies(plan.imitate, plan.align, TITLES, ["dpo"])
    return Results(Task(Path(), plan, World([], [], [], [], [])), ["dpo"], trained, seeds)


DPO = "DPO"


@pytest.mark.parametrize(
    ("start", "coin", "imitation", "told"),
    [
        (0.4, 0.4, 0.35, "The gain of DPO survives every control."),
        (0.1, 0.4, 0.4, "DPO shows no gain over the start."),
        (0.4, 0.1, 0.4, "labels drawn by coin do as well"),
        (0.4, 0.4, 0.1, "SFT on the chosen alone does as well or better"),
    ],
)
def test_the_verdict_names_the_control_that_a_gain_does_not_survive(
    start: float, coin: float, imitation: float, told: str
) -> None:
    lines = conclusions(results({START: start, IMITATION: imitation, COIN: coin, DPO: 0.2}))
    assert told in lines[3]
    assert ("below that of 'start'" in lines[0]) == (start > 0.2)
    assert ("lower on 3 of 3 seeds" in lines[0]) == (start > 0.2)


@pytest.mark.parametrize(
    ("recall", "told"), [(0.3, "recall fell"), (0.5, "recall did not change measurably"), (0.8, "recall rose")]
)
def test_the_cost_is_told(recall: float, told: str) -> None:
    line = conclusions(results(dict.fromkeys((START, IMITATION, COIN, DPO), 0.3), recall))[4]
    assert told in line
    assert ("does not say at all" in line) == (recall < 0.5)
    assert "changed by +0.25 nats" in line


def test_a_description_that_says_nothing_gains_by_rate_and_is_told_by_recall() -> None:
    lines = conclusions(results({START: 0.4, IMITATION: 0.4, COIN: 0.4, DPO: 0.0}, recall=0.0))
    assert "The gain of DPO survives" in lines[3]
    assert "Part of what it does not invent, it does not say at all." in lines[4]


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 20))
def test_the_mean_of_a_ratios_values_is_the_ratio(seed: int, rows: int, columns: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    below = torch.rand(rows, columns, generator=chance, dtype=torch.float64) + 0.1
    above = below * torch.rand(rows, columns, generator=chance, dtype=torch.float64)
    values = ratio_values(above, below)
    assert values.mean().item() == pytest.approx((above.sum() / below.sum()).item())


def test_a_ratio_of_nothing_is_nothing() -> None:
    assert torch.equal(ratio_values(torch.zeros(2, 3), torch.zeros(2, 3)), torch.zeros(2, 3))


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says() -> None:
    chance = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(100):
        below = torch.randint(1, 4, (1, 100), generator=chance).float()
        above = torch.binomial(below, torch.full_like(below, 0.3), generator=chance)
        estimate = Estimate.of(ratio_values(above, below))
        held += estimate.low <= 0.3 <= estimate.high
    assert 88 <= held <= 100
