"""The conclusions follow from the numbers, good or bad."""

from pathlib import Path

import pytest
import torch

from modalign.modalities.audio.quickstart.experiment import Task
from modalign.modalities.audio.quickstart.measurement import Measured
from modalign.modalities.audio.quickstart.plan import TITLES, Plan
from modalign.modalities.audio.quickstart.summary import Results, conclusions
from modalign.modalities.quickstart.policies import IMITATION, START, policies
from modalign.modalities.quickstart.seeds import Learned, SeedResult

SOUNDS = 40
CRPO, COIN = "CRPO", "CRPO, coin"
EVEN = dict.fromkeys((START, IMITATION, COIN, CRPO), 0.5)


def results(rewards: dict[str, float], swapped: float = 0.2, warned: int = 0) -> Results:
    """Three seeds whose policies have these mean rewards, up to a little noise; the rest is CRPO's."""
    noise = torch.Generator().manual_seed(0)
    plan, seeds = Plan(), []
    for seed in range(3):
        measured = {}
        for title, reward in rewards.items():
            wobble = 0.05 * torch.randn(SOUNDS, generator=noise)
            turned = torch.full((SOUNDS,), swapped if title == CRPO else 0.2)
            warnings = ["warning: the run is ruining the policy"] if title == CRPO and seed < warned else []
            pairs = torch.full((seed + 2,), 0.25)
            zero = torch.zeros(SOUNDS)
            measured[title] = Measured(
                reward + wobble, turned, zero, pairs, pairs, pairs[:, None], float(seed), [], warnings
            )
        seeds.append(SeedResult(Learned(seed, [], measured[START]), measured))
    trained = policies(plan.imitate, plan.align, TITLES, ["crpo"])
    return Results(Task(Path(), plan, Path()), ["crpo"], trained, seeds)


@pytest.mark.parametrize(
    ("start", "coin", "imitation", "told"),
    [
        (0.0, 0.0, 0.5, "The gain of CRPO survives every control."),
        (1.0, 0.0, 0.0, "CRPO shows no gain over the start."),
        (0.0, 1.0, 0.0, "labels drawn by coin do as well"),
        (0.0, 0.0, 1.2, "SFT on the chosen alone does as well or better"),
    ],
)
def test_the_verdict_names_the_control_that_a_gain_does_not_survive(
    start: float, coin: float, imitation: float, told: str
) -> None:
    lines = conclusions(results({START: start, IMITATION: imitation, COIN: coin, CRPO: 1.0}))
    assert told in lines[3]


@pytest.mark.parametrize(
    ("imitation", "told"), [(0.5, "SFT on the chosen does about as well here"), (0.1, "CRPO came out above SFT")]
)
def test_what_is_claimed_depends_on_imitation(imitation: float, told: str) -> None:
    assert conclusions(results({**EVEN, IMITATION: imitation}))[-1].startswith(told)


@pytest.mark.parametrize(
    ("swapped", "told"), [(0.0, "became fewer (-0.2"), (0.2, "did not change measurably"), (0.4, "became more (+0.2")]
)
def test_the_cost_is_told(swapped: float, told: str) -> None:
    line = conclusions(results(EVEN, swapped))[4]
    assert told in line
    assert "from 1.00 to 1.00" in line
    assert "changed by +25%, while implicit accuracy reads 0.25" in line


def test_warnings_of_runs_are_told_with_how_many_seeds_they_came_on() -> None:
    quiet, loud = (conclusions(results(EVEN, warned=warned)) for warned in (0, 2))
    assert not any("itself warned" in line for line in quiet)
    assert [line for line in loud if line not in quiet] == [
        "The run of CRPO itself warned, on 2 of 3 seeds: warning: the run is ruining the policy"
    ]
