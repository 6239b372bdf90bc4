from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.objectives.base import Feedback
from modalign.core.sources import TextRow
from modalign.modalities.image.formats.hpd import Hpd
from modalign.modalities.image.formats.image_ranked import ImageRanked
from modalign.modalities.image.formats.image_reward_db import ImageRewardDb
from modalign.modalities.image.formats.image_thumbs import ImageThumbs
from modalign.plugins.formats.media.lists import borda_shares, from_ranks
from tests.modalities.image.formats.pictures import Pictures, Rows

ABC = ["a.png", "b.png", "c.png"]
SCORED = {"prompt": "a cat", "images": ABC, "scores": [0.2, 0.9, 0.5]}
HPD_TRAIN = {"prompt": "a cat", "file_path": ["a.jpg", "b.jpg"], "human_preference": [0, 1]}
HPD_TEST = {"prompt": "a cat", "image_path": ABC, "rank": [3, 1, 2], "raw_annotations": []}
HPD_V3 = {"prompt": "a cat", "path1": "a.jpg", "path2": "b.jpg", "confidence": 0.75, "choice_dist": [9, 3]}
GROUP = {"prompt_id": "7", "prompt": "a cat", "image_path": ABC, "rank": [2, 1, 2], "overall_rating": [6, 5, 4]}


def paths(comparison):
    return [candidate.response.path for candidate in comparison.candidates]


def scores(comparison):
    return [candidate.score for candidate in comparison.candidates]


def pairs(format, row):
    return [
        (each.candidate(CHOSEN).response.path[0], each.candidate(REJECTED).response.path[0])
        for each in format.parse(row)
    ]


@given(st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=5))
def test_borda_shares_count_the_comparisons_that_an_image_wins(judges):
    shares = borda_shares(judges)
    ties = sum(a == b for scores in judges for a, b in combinations(scores, 2))
    assert all(0 <= share <= 1 for share in shares)
    # Every comparison that is no tie is won once: n k (k - 1) / 2 of them, each worth 1 / (n (k - 1)).
    assert sum(shares) == pytest.approx(4 / 2 - ties / (len(judges) * 3))
    for i, j in combinations(range(4), 2):
        if all(scores[i] > scores[j] for scores in judges):
            assert shares[i] > shares[j]


def test_borda_shares_by_hand():
    assert borda_shares([[3, 1, 2], [30, 20, 10]]) == [1.0, 0.25, 0.25]
    assert borda_shares([[5.0, 5.0]]) == [0.0, 0.0]
    assert from_ranks([1, 3, 2, 2]) == pytest.approx([1.0, 0.0, 1 / 3, 1 / 3])


def test_a_list_keeps_its_order_and_its_scores():
    format = ImageRanked("none")
    assert format.matches(SCORED)
    assert format.feedback(SCORED) == {Feedback.LISTWISE}
    (comparison,) = format.parse(SCORED)
    assert comparison.roles == ("candidate",) * 3
    assert paths(comparison) == ABC
    assert scores(comparison) == SCORED["scores"]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("best_worst", [("b", "a")]),
        ("best_vs_rest", [("b", "c"), ("b", "a")]),
        ("all", [("b", "c"), ("b", "a"), ("c", "a")]),
    ],
)
def test_a_list_is_split_into_pairs(option, expected):
    assert pairs(ImageRanked(option), SCORED) == expected
    assert ImageRanked(option).feedback(SCORED) == {Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION}


def test_ranks_and_several_judges_become_shares():
    row = {"caption": "a cat", "images": ABC, "ranks": [2, 1, 3]}
    (ranked,) = ImageRanked("none").parse(row)
    assert scores(ranked) == [0.5, 1.0, 0.0]
    judged = {**row, "pick": [21.0, 22.0, 20.0], "hps": [0.28, 0.27, 0.26], "clip": [0.3, 0.31, 0.31]}
    (comparison,) = ImageRanked("none", rewards=["pick", "hps", "clip"]).parse(judged)
    assert scores(comparison) == pytest.approx([3 / 6, 4 / 6, 1 / 6])
    (single,) = ImageRanked("none", rewards=["pick"]).parse(judged)
    assert scores(single) == [0.5, 1.0, 0.0]


def test_lists_under_other_names():
    row = {"q": "a cat", "pictures": ABC, "rank": [0.1, 0.2, 0.3], "place": [1, 2, 3], "scores": [1, 2, 3], "w": 2}
    names = {"prompt": "q", "images": "pictures", "weight": "w"}
    (by_score,) = ImageRanked("none", scores="rank", **names).parse(row)
    assert (scores(by_score), by_score.weight, by_score.prompt) == ([0.1, 0.2, 0.3], 2.0, "a cat")
    (by_rank,) = ImageRanked("none", ranks="place", **names).parse(row)
    assert scores(by_rank) == [1.0, 0.5, 0.0]
    assert ImageRanked(ranks="place", **names).matches(row)
    for wrong in (ImageRanked(rewards=["pick"]), ImageRanked(ranks="pick")):
        with pytest.raises(UserError, match="no column 'pick'"):
            wrong.resolve(SCORED, "a.jsonl")


@pytest.mark.parametrize(
    "options",
    [
        {"scores": "a", "ranks": "b"},
        {"rewards": ["a"], "scores": "b"},
        {"rewards": []},
        {"rewards": ["a", "a"]},
        {"pairs": "some"},
        {"ties": "keep"},
        {"min_gap": -1.0},
        {"pairs": "none", "min_gap": 0.1},
    ],
)
def test_options_that_cannot_act_are_refused(options):
    with pytest.raises(ConfigError):
        ImageRanked(**options)


@pytest.mark.parametrize(
    ("change", "problem", "column"),
    [
        ({"images": ["a.png"]}, "only one image", "images"),
        ({"images": []}, "empty list", "images"),
        ({"images": "a.png"}, "not a list", "images"),
        ({"images": ["a.png", 3, "c.png"]}, "not an image", "images[1]"),
        ({"images": ["a.png", "b.png", None]}, "not an image", "images[2]"),
        ({"images": ["a.png"] * 3}, "identical images", "images"),
        ({"scores": [1, 2]}, "lists of different lengths: 3 images and 2 scores", "scores"),
        ({"scores": [1, "2", 3]}, "not a number", "scores[1]"),
        ({"scores": [1, None, 3]}, "not a number", "scores[1]"),
        ({"scores": [1, float("inf"), 3]}, "not a finite number", "scores[1]"),
        ({"scores": None}, "no value", "scores"),
        ({"prompt": None}, "no value", "prompt"),
    ],
)
@pytest.mark.parametrize("option", ["none", "all"])
def test_bad_lists_are_refused(change, problem, column, option):
    with pytest.raises(RowError, match=problem) as caught:
        ImageRanked(option).parse({**SCORED, **change})
    assert caught.value.column == column


def test_ties_are_left_out_or_refused():
    row = {**SCORED, "scores": [1, 2, 2]}
    assert pairs(ImageRanked("all"), row) == [("b", "a"), ("c", "a")]
    assert ImageRanked("all").left_out(row) == {"tie": 1}
    with pytest.raises(RowError, match="tie"):
        ImageRanked("all", ties="error").parse(row)
    assert ImageRanked("none").parse({**SCORED, "scores": [2, 2, 2]}) == []
    assert ImageRanked("none").left_out({**SCORED, "scores": [2, 2, 2]}) == {"tie": 1}
    assert ImageRanked("all", min_gap=0.35).left_out(SCORED) == {"scores closer than min_gap": 1}


def test_hpd_pairs_rankings_and_version_3():
    for row, expected in ((HPD_TRAIN, [("b", "a")]), (HPD_TEST, [("b", "a")]), (HPD_V3, [("a", "b")])):
        assert Hpd().matches(row)
        assert pairs(Hpd(), row) == expected
    assert pairs(Hpd(pairs="all"), HPD_TEST) == [("b", "c"), ("b", "a"), ("c", "a")]
    (listed,) = Hpd(pairs="none", root="/r").parse(HPD_TEST)
    assert scores(listed) == [0.0, 1.0, 0.5]
    assert paths(listed) == ["/r/a.png", "/r/b.png", "/r/c.png"]


def test_hpd_leaves_unsure_rows_out_and_counts_them():
    format = Hpd(min_confidence=0.8)
    assert format.parse(HPD_V3) == []
    assert format.left_out(HPD_V3) == {"confidence below min_confidence": 1}
    assert pairs(format, {**HPD_V3, "confidence": 0.8}) == [("a", "b")]
    assert format.resolve(HPD_V3, "train.json") is format
    with pytest.raises(ConfigError, match=r"train\.json has no column 'confidence'"):
        format.resolve(HPD_TRAIN, "train.json")
    with pytest.raises(RowError, match="not a number"):
        format.parse({**HPD_V3, "confidence": "0.9"})
    with pytest.raises(ConfigError):
        Hpd(min_confidence=80)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**HPD_TRAIN, "human_preference": [0.3, 0.7]}, "not preferences"),
        ({**HPD_TRAIN, "human_preference": [True, False]}, "not a number"),
        ({**HPD_TRAIN, "human_preference": ["1", "0"]}, "not a number"),
        ({**HPD_TRAIN, "human_preference": [1]}, "different lengths"),
        ({**HPD_TRAIN, "file_path": ["a.jpg", "a.jpg"]}, "identical images"),
        ({**HPD_TEST, "rank": [1, 2]}, "different lengths"),
        ({**HPD_TEST, "image_path": "a.jpg"}, "not a list"),
        ({**HPD_V3, "path2": "a.jpg"}, "identical images"),
        ({**HPD_V3, "path2": None}, "no value"),
        ({"prompt": "a cat"}, "missing column"),
    ],
)
def test_bad_rows_of_hpd_are_refused(row, problem):
    with pytest.raises(RowError, match=problem):
        Hpd().parse(row)


def test_an_undecided_pair_of_hpd_is_a_tie():
    row = {**HPD_TRAIN, "human_preference": [0, 0]}
    assert Hpd().parse(row) == []
    assert Hpd().left_out(row) == {"tie": 1}
    with pytest.raises(RowError, match="tie"):
        Hpd(ties="error").parse(row)


@pytest.mark.parametrize("names", [("image_path", "rank"), ("image", "rank"), ("generations", "ranking")])
def test_groups_of_image_reward_db(names):
    row = {"prompt_id": "7", "prompt": "a cat", names[0]: ABC, names[1]: [2, 1, 2]}
    format = ImageRewardDb(pairs="all")
    assert format.matches(row)
    assert pairs(format, row) == [("b", "a"), ("b", "c")]
    assert format.left_out(row) == {"tie": 1}
    (listed,) = ImageRewardDb(pairs="none").parse(row)
    assert scores(listed) == [0.0, 1.0, 0.0]


def test_image_reward_db_by_rating_and_pairs():
    assert pairs(ImageRewardDb(rating="overall_rating"), GROUP) == [("a", "c")]
    row = {"prompt_id": "7", "prompt": "a cat", "img_better": "a.webp", "img_worse": {"bytes": None, "path": "b.webp"}}
    assert ImageRewardDb().matches(row)
    assert pairs(ImageRewardDb(), row) == [("a", "b")]
    with pytest.raises(UserError, match="no column 'overall_ratings', which"):
        ImageRewardDb(rating="overall_ratings").resolve(GROUP, "a.json")
    with pytest.raises(RowError, match="missing column"):
        ImageRewardDb().parse({"prompt_id": "7", "prompt": "a cat", "rank": [1, 2]})


@pytest.mark.parametrize(("label", "score"), [(True, 1.0), (False, 0.0), (1, 1.0), (0.0, 0.0)])
def test_thumbs(label, score):
    row = {"prompt": "a cat", "image": "a.png", "label": label}
    assert ImageThumbs().matches(row)
    assert ImageThumbs().feedback(row) == {Feedback.POINTWISE}
    (comparison,) = ImageThumbs().parse(row)
    assert (comparison.roles, scores(comparison)) == (("candidate",), [score])


def test_a_label_that_is_text_is_never_taken_for_true():
    row = {"prompt": "a cat", "good": "false", "image": "a.png"}
    format = ImageThumbs(label="good")
    with pytest.raises(RowError, match="not a label") as caught:
        format.parse(row)
    assert caught.value.column == "good"
    assert scores(format.parse(TextRow(row))[0]) == [0.0]
    for label in (0.5, 2, None, "1"):
        with pytest.raises(RowError):
            format.parse({**row, "good": label})


def test_lists_and_thumbs_are_counted(tmp_path):
    for name in ABC:
        (tmp_path / name).write_bytes(name.encode())
    tie = {**SCORED, "scores": [1, 1, 1]}
    dataset = ComparisonDataset([Rows([SCORED, tie, SCORED])], ImageRanked("all", root=str(tmp_path)), Pictures())
    (report,) = dataset.report.sources
    assert (report.kept, report.comparisons, dict(report.reasons)) == (2, 6, {"tie": 1})
