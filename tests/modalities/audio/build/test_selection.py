"""Which sounds become pairs."""

from collections import Counter
from typing import Any

import pytest
import torch

from modalign.modalities.audio.build.selection import Strategy, Take, Thresholds, select
from modalign.modalities.audio.clip import Clip

SILENCE = Clip(torch.zeros(1, 8), 8)


def take(score: float, said: str = "rain") -> Take:
    return Take(SILENCE, said, score)


FAITHFUL = [take(0.5), take(0.6), take(0.55), take(0.3)]
OTHERS: list[tuple[Strategy, Take]] = [
    ("perturbed", take(0.2, "wind")),
    ("perturbed", take(0.59, "a bell")),
    ("temporal", take(0.1, "")),
]


@pytest.mark.parametrize(
    ("thresholds", "rejected"),
    [
        ({"gap": 0.08}, [("inference", 0.5), ("inference", 0.3), ("perturbed", 0.2), ("temporal", 0.1)]),
        ({"gap": 0.0, "ceiling": 0.25}, [("perturbed", 0.2), ("temporal", 0.1)]),
        ({"gap": 0.08, "losers": "worst"}, [("inference", 0.3), ("perturbed", 0.2), ("temporal", 0.1)]),
        ({"gap": 0.45}, [("temporal", 0.1)]),
    ],
)
def test_the_best_against_what_is_worse(thresholds: dict[str, Any], rejected: list[tuple[str, float]]) -> None:
    selected = select(FAITHFUL, OTHERS, Thresholds(0.45, **thresholds))
    assert selected.chosen is FAITHFUL[1]
    assert [(strategy, each.score) for strategy, each in selected.rejected] == rejected
    assert sum(selected.left_out.values()) == 6 - len(rejected)


def test_without_inference() -> None:
    selected = select(FAITHFUL, OTHERS, Thresholds(0.45, 0.08), inference=False)
    assert [strategy for strategy, _ in selected.rejected] == ["perturbed", "temporal"]
    assert selected.left_out == Counter({"perturbed: the score is too near the best one's": 1})


def test_a_prompt_without_a_good_sound_is_left_out() -> None:
    selected = select(FAITHFUL, OTHERS, Thresholds(0.61, 0.0))
    assert selected.chosen is None
    assert not selected.rejected
    assert selected.left_out == Counter({"the best sound of a prompt scores below the floor": 1})


def test_a_tie_is_no_pair_whatever_the_gap() -> None:
    selected = select([take(0.5), take(0.5)], [("temporal", take(0.5)), ("temporal", take(0.4))], Thresholds(0.0, 0.0))
    assert [each.score for _, each in selected.rejected] == [0.4]
    assert selected.left_out == Counter(
        {"inference: the score is the best one's": 1, "temporal: the score is the best one's": 1}
    )


def test_scores_that_are_no_numbers_are_counted_and_never_chosen() -> None:
    selected = select([take(float("nan")), take(0.5)], [("temporal", take(float("inf")))], Thresholds(0.0, 0.0))
    assert selected.chosen is not None
    assert selected.chosen.score == 0.5
    assert not selected.rejected
    assert selected.left_out == Counter(
        {"a score is not a finite number": 1, "temporal: a score is not a finite number": 1}
    )
