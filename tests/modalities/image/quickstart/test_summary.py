"""The conclusions follow from the numbers, good or bad."""

from pathlib import Path

import pytest
import torch

from modalign.modalities.image.quickstart.experiment import Task
from modalign.modalities.image.quickstart.measurement import Measured
from modalign.modalities.image.quickstart.plan import TITLES, Plan
from modalign.modalities.image.quickstart.preference import Preferences
from modalign.modalities.image.quickstart.summary import Results, conclusions
from modalign.modalities.quickstart.policies import IMITATION, START, policies
from modalign.modalities.quickstart.seeds import Learned, SeedResult

PICTURES = 40
DPO, COIN = "Diffusion-DPO", "Diffusion-DPO, coin"


def results(rewards: dict[str, float], fidelity: float = 0.9, drift: float = 0.0) -> Results:
    """Three seeds whose policies have these mean rewards, up to a little noise; the fidelity is that of DPO."""
    noise = torch.Generator().manual_seed(0)
    plan, seeds = Plan(), []
    for seed in range(3):
        measured = {}
        for title, reward in rewards.items():
            wobble = 0.05 * torch.randn(PICTURES, generator=noise)
            read = torch.full((PICTURES,), fidelity if title == DPO else 0.9)
            pairs = torch.full((seed + 2,), drift)
            zero = torch.zeros(PICTURES)
            measured[title] = Measured(reward + wobble, zero, read + wobble, zero, pairs, pairs, float(seed), [])
        seeds.append(SeedResult(Learned(seed, Preferences([], [], 0), measured[START]), measured))
    trained = policies(plan.imitate, plan.align, TITLES, ["dpo"])
    return Results(Task(Path(), plan, Path()), ["dpo"], trained, seeds)


@pytest.mark.parametrize(
    ("start", "coin", "imitation", "told"),
    [
        (0.0, 0.0, 0.5, "The gain of Diffusion-DPO survives every control."),
        (1.0, 0.0, 0.0, "Diffusion-DPO shows no gain over the start."),
        (0.0, 1.0, 0.0, "labels drawn by coin do as well"),
        (0.0, 0.0, 1.2, "SFT on the chosen alone does as well or better"),
    ],
)
def test_the_verdict_names_the_control_that_a_gain_does_not_survive(
    start: float, coin: float, imitation: float, told: str
) -> None:
    lines = conclusions(results({START: start, IMITATION: imitation, COIN: coin, DPO: 1.0}))
    assert told in lines[3]


@pytest.mark.parametrize(
    ("fidelity", "told"), [(0.5, "fidelity fell"), (0.9, "fidelity did not change measurably"), (1.2, "fidelity rose")]
)
def test_the_cost_is_told(fidelity: float, told: str) -> None:
    line = conclusions(results(dict.fromkeys((START, IMITATION, COIN, DPO), 0.0), fidelity, drift=0.25))[4]
    assert told in line
    assert "from 1.00 to 1.00" in line
    assert "changed by +25.0%" in line


def test_implicit_accuracy_is_told_for_every_policy_with_a_warning() -> None:
    line = conclusions(results(dict.fromkeys((START, IMITATION, COIN, DPO), 0.0), drift=0.25))[-1]
    for title in (IMITATION, COIN, DPO):
        assert f"0.25 {title}" in line
    assert "says nothing alone" in line
