"""The conclusions follow from the numbers, good or bad."""

from pathlib import Path

import pytest
import torch

from modalign.modalities.quickstart.policies import IMITATION, START
from modalign.modalities.text.quickstart.experiment import COIN, DPO, SeedResult
from modalign.modalities.text.quickstart.measurement import Measured
from modalign.modalities.text.quickstart.preference import Pairs
from modalign.modalities.text.quickstart.summary import by_pair, conclusions

PROMPTS = 40
NO_PAIRS = Pairs([], 0.0, 0, 0)


def results(rewards: dict[str, float], correct: float = 0.0, drift: float = 0.0) -> list[SeedResult]:
    """Three seeds whose policies have these mean rewards, up to a little noise."""
    noise = torch.Generator().manual_seed(0)
    found = []
    for seed in range(3):
        measured = {}
        for policy, reward in rewards.items():
            wobble = 0.05 * torch.randn(PROMPTS, generator=noise)
            gained = torch.full((PROMPTS,), 0.9 + correct * (policy == DPO))
            zero = torch.zeros(PROMPTS)
            pairs = torch.full((seed + 2,), drift)
            measured[policy] = Measured(reward + wobble, zero, gained + wobble, zero, pairs, pairs, [])
        found.append(SeedResult(seed, measured, NO_PAIRS, NO_PAIRS, Path()))
    return found


@pytest.mark.parametrize(
    ("start", "coin", "imitation", "verdict"),
    [
        (0.0, 0.0, 0.5, "The gain of DPO survives every control."),
        (1.0, 0.0, 0.0, "DPO shows no gain over the start."),
        (2.0, 0.0, 0.0, "DPO shows no gain over the start."),
        (0.0, 1.0, 0.0, "labels drawn by coin do as well"),
        (0.0, 0.0, 1.0, "SFT on the chosen alone does as well"),
        (0.0, 0.0, 1.2, "SFT on the chosen alone does as well"),
    ],
)
def test_the_verdict_names_the_control_that_a_gain_does_not_survive(
    start: float, coin: float, imitation: float, verdict: str
) -> None:
    lines = conclusions(results({START: start, COIN: coin, IMITATION: imitation, DPO: 1.0}))
    assert verdict in lines[3]


def test_every_comparison_is_told_with_its_interval_and_seeds() -> None:
    above, level, below, *_ = conclusions(results({START: 0.0, COIN: 1.0, IMITATION: 2.0, DPO: 1.0}))
    assert "above that of 'start'" in above
    assert "+1.0" in above
    assert "higher on 3 of 3 seeds" in above
    assert "not measurably different from that of 'DPO, coin labels'" in level
    assert "below that of 'SFT on the chosen'" in below
    assert "higher on 0 of 3 seeds" in below


@pytest.mark.parametrize(
    ("change", "told"), [(-0.3, "correct answers fell"), (0.0, "did not change measurably"), (0.3, "rose")]
)
def test_the_cost_is_told(change: float, told: str) -> None:
    lines = conclusions(results(dict.fromkeys((START, COIN, IMITATION, DPO), 0.0), correct=change, drift=-2.0))
    assert told in lines[-1]
    assert "drift by -2.00 nats" in lines[-1]


def test_pairs_of_all_seeds_count_alike() -> None:
    found = results({DPO: 0.0}, drift=1.0)
    assert by_pair(found, DPO, "drift").shape == (2 + 3 + 4,)
