"""Ranked pictures and the rows made of them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pictures

from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.formats.image_ranked import ImageRanked
from modalign.modalities.image.modality import Image
from modalign.modalities.image.quickstart.experiment import preferred
from modalign.modalities.image.quickstart.preference import Preferences, Ranked, rank_own, shuffled_scores

PROMPTS = ("a zero", "a one")


def grey(shade: int) -> Any:
    return Pictures.new("L", (8, 8), shade)


@pytest.fixture
def preferences(tmp_path: Path) -> Preferences:
    drawn = [
        [grey(shade) for shade in (10, 30, 20, 0, 50, 51, 60, 61)],
        [grey(shade) for shade in (7, 7, 7, 7, 255, 102, 51, 0)],
    ]
    return rank_own(Image("unused"), PROMPTS, drawn, 4, 1, preferred(), tmp_path / "pictures")


def test_lists_are_scored_held_out_and_ties_counted(preferences: Preferences, tmp_path: Path) -> None:
    assert preferences.ties == 1
    (held_out,), (first, second) = preferences.held_out, preferences.train
    assert (held_out.prompt, first.prompt, second.prompt) == ("a zero", "a zero", "a one")
    assert second.scores == pytest.approx((1.0, 0.4, 0.2, 0.0), abs=1e-6)
    assert preferences.chosen_reward == pytest.approx((61 / 255 + 1) / 2)
    with Pictures.open(tmp_path / held_out.images[1]) as picture:
        assert picture.getpixel((0, 0)) == 30


def test_a_pair_is_the_best_and_the_worst_the_first_among_equals() -> None:
    ranked = Ranked("a zero", ("a", "b", "c", "d"), (0.5, 0.1, 0.5, 0.1))
    assert ranked.as_pair() == {"prompt": "a zero", "chosen": "a", "rejected": "b"}


def test_rows_are_of_the_formats_that_read_them(preferences: Preferences) -> None:
    pair, ranked = preferences.train[0].as_pair(), preferences.train[0].as_list()
    assert ImagePairs().matches(pair)
    assert ImageRanked(pairs="none").matches(ranked)
    (comparison,) = ImageRanked(pairs="none").parse(ranked)
    assert [candidate.score for candidate in comparison.candidates] == ranked["scores"]


def test_shuffled_scores_keep_pictures_and_scores_but_not_their_order() -> None:
    rows = [Ranked(str(n), ("a", "b", "c", "d"), (0.1, 0.2, 0.3, 0.4)).as_list() for n in range(400)]
    shuffled = shuffled_scores(rows, 0)
    assert shuffled == shuffled_scores(rows, 0) != shuffled_scores(rows, 1)
    assert all(
        row["images"] == ["a", "b", "c", "d"] and sorted(row["scores"]) == [0.1, 0.2, 0.3, 0.4] for row in shuffled
    )
    for place in range(4):
        assert 70 < sum(row["scores"][place] == 0.4 for row in shuffled) < 130
