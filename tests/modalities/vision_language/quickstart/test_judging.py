"""Descriptions held against scenes, and pairs made of them."""

import pytest

from modalign.modalities.vision_language.quickstart.judging import Judged, hallucination_rate, judge
from modalign.modalities.vision_language.quickstart.preference import Pair, Pairs, best_and_worst, pair_up
from modalign.modalities.vision_language.quickstart.scenes import Thing, describe
from modalign.modalities.vision_language.quickstart.world import Picture

CIRCLE, SQUARE = Thing("top left", "red", "circle"), Thing("bottom right", "blue", "square")
GHOST = Thing("top right", "yellow", "triangle")
SCENE = (CIRCLE, SQUARE)
PICTURE = Picture("pictures/0000.png", SCENE)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (describe(SCENE), Judged(2, 0, 2, 2, True, 12)),
        (describe((CIRCLE, GHOST, SQUARE)), Judged(3, 1, 2, 2, False, 17)),
        (describe((SQUARE,)), Judged(1, 0, 1, 2, False, 7)),
        ("", Judged(0, 0, 0, 2, False, 0)),
        ("two objects: top left a green circle", Judged(1, 1, 0, 2, True, 7)),
        ("top left a red circle, top left a red circle", Judged(2, 0, 1, 2, False, 10)),
    ],
)
def test_judged_by_hand(description: str, expected: Judged) -> None:
    assert judge(description, SCENE) == expected


def test_mistakes_are_inventions_and_omissions() -> None:
    judged = judge(describe((CIRCLE, GHOST)), SCENE)
    assert (judged.invented, judged.missed, judged.mistakes) == (1, 1, 2)


def test_the_rate_is_a_share_of_all_mentions() -> None:
    judged = [judge(describe(things), SCENE) for things in ((CIRCLE, GHOST, SQUARE), (CIRCLE,))]
    assert hallucination_rate(judged) == 0.25
    assert hallucination_rate([judge("", SCENE)]) == 0.0


def test_fewest_mistakes_are_chosen_and_most_rejected() -> None:
    right, invented, both = (describe(things) for things in (SCENE, (CIRCLE, GHOST, SQUARE), (GHOST,)))
    assert best_and_worst(PICTURE, [invented, both, right]) == (right, both)
    assert best_and_worst(PICTURE, [invented, invented, right]) == (right, invented)


@pytest.mark.parametrize(
    "texts", [[describe(SCENE)] * 3, [describe((CIRCLE,)), describe((SQUARE,))], [describe(SCENE), "", "nothing"], []]
)
def test_descriptions_with_equally_many_mistakes_make_no_pair(texts: list[str]) -> None:
    assert best_and_worst(PICTURE, texts) is None


def test_pairs_become_rows_and_ties_are_left_out() -> None:
    other = Picture("pictures/0001.png", (SQUARE,))
    texts = [[describe((GHOST,)), describe(SCENE)], [describe((SQUARE,))] * 2]
    (pair,) = pair_up([PICTURE, other], texts, [other, PICTURE])
    assert pair == Pair(PICTURE, describe(SCENE), describe((GHOST,)), other)
    assert pair.row("..") == {
        "prompt": "Describe the picture.",
        "chosen": describe(SCENE),
        "rejected": describe((GHOST,)),
        "image": "../pictures/0000.png",
        "retrieved_image": "../pictures/0001.png",
    }
    pairs = Pairs([pair], [], 1)
    assert (pairs.chosen_rate, pairs.rejected_rate) == (0.0, 1.0)
