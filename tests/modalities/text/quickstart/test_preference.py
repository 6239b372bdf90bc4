"""The stated preference and the pairs made from it, against values worked out by hand."""

import math

import pytest
import torch

from modalign.modalities.text.quickstart.preference import PoliteAndBrief, rank


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        ("Of course! A cherry is red.", 1.0),
        ("Gladly! Red.", 1 - 4 / 6),
        ("A cherry is of course red.", 0.0),
        ("Hm.", -5 / 6),
        ("With pleasure! " + "very " * 10, 1 - 6 / 6),
    ],
)
def test_reward_is_courtesy_less_the_distance_from_six_words(answer: str, reward: float) -> None:
    torch.testing.assert_close(PoliteAndBrief().score(["What?"], [answer]), torch.tensor([reward]))


def test_rank_takes_the_best_and_the_worst_of_each_group() -> None:
    responses = [
        ["Hm.", "Gladly! Red.", "A cherry is red.", "It is red."],
        ["Red.", "Hm.", "  ", "Gladly! It is red."],
    ]
    pairs = rank(["a", "b"], responses, 2, PoliteAndBrief())
    assert pairs.rows == [
        {"prompt": "a", "chosen": "Gladly! Red.", "rejected": "Hm."},
        {"prompt": "a", "chosen": "A cherry is red.", "rejected": "It is red."},
    ]
    assert (pairs.ties, pairs.empty) == (2, 1)
    assert pairs.chosen_reward == pytest.approx(((1 - 4 / 6) + (0 - 2 / 6)) / 2, abs=1e-6)


def test_rank_of_ties_alone_leaves_no_pair() -> None:
    pairs = rank(["a"], [["Hm.", "Hm."]], 2, PoliteAndBrief())
    assert pairs.rows == []
    assert pairs.ties == 1
    assert math.isnan(pairs.chosen_reward)
