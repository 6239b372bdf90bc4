from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.batch import Candidate
from modalign.core.errors import ConfigError, RowError
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats.ranked import Ranked

SCORES = st.lists(st.integers(0, 4), min_size=2, max_size=6)


def row(*scores, **others):
    return {"prompt": "q", "completions": [f"r{n}" for n in range(len(scores))], "scores": list(scores), **others}


def pairs(comparisons):
    return [tuple(candidate.response for candidate in comparison.candidates) for comparison in comparisons]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("best_worst", [("r2", "r1")]),
        ("best_vs_rest", [("r2", "r0"), ("r2", "r1")]),
        ("all", [("r2", "r0"), ("r2", "r1"), ("r0", "r1")]),
    ],
)
def test_lists_become_pairs_by_choice(option, expected):
    comparisons = Ranked(option).parse(row(3.0, 1.0, 5.0))
    assert pairs(comparisons) == expected
    best = comparisons[0].candidates[0]
    assert (best.role, best.score) == ("chosen", 5.0)


def test_a_list_may_be_kept_whole():
    (comparison,) = Ranked("none").parse(row(3, 1, 3))
    assert comparison.candidates == (Candidate("r0", score=3.0), Candidate("r1", score=1.0), Candidate("r2", score=3.0))
    assert comparison.prompt == "q"


def test_ultrafeedback():
    completions = [
        {"model": "a", "response": "r0", "overall_score": 7.5, "annotations": {}},
        {"model": "b", "response": "r1", "overall_score": 8.0, "annotations": {}},
    ]
    columns = {"source": "x", "instruction": "q", "completions": completions, "models": ["a", "b"]}
    assert Ranked().matches(columns)
    (comparison,) = Ranked().parse(columns)
    assert (comparison.prompt, pairs([comparison])) == ("q", [("r1", "r0")])
    rated = [{**completion, "fine-grained_score": 9 - n} for n, completion in enumerate(completions)]
    assert pairs(Ranked(score="fine-grained_score").parse({**columns, "completions": rated})) == [("r0", "r1")]


@given(SCORES, st.sampled_from(["best_worst", "best_vs_rest", "all"]), st.sampled_from([0.0, 2.0]))
def test_every_pair_is_made_or_counted(scores, option, gap):
    format = Ranked(option, min_gap=gap)
    made, left = format.parse(row(*scores)), format.left_out(row(*scores))
    count = len(scores)
    asked = {"best_worst": 1, "best_vs_rest": count - 1, "all": count * (count - 1) // 2}[option]
    assert len(made) + sum(left.values()) == asked
    for comparison in made:
        better, worse = comparison.candidates
        assert better.score > worse.score
        assert better.score - worse.score >= gap
        assert scores[int(better.response[1:])] == better.score
    if option == "all":
        assert left.get("tie", 0) == sum(a == b for a, b in combinations(scores, 2))


@given(SCORES, st.sampled_from(["none", "best_worst", "best_vs_rest", "all"]))
def test_ties_can_be_refused(scores, option):
    format = Ranked(option, ties="error")
    compared = {
        "none": list(combinations(scores, 2)),
        "all": list(combinations(scores, 2)),
        "best_worst": [(max(scores), min(scores))],
        "best_vs_rest": [(max(scores), other) for other in sorted(scores)[:-1]],
    }[option]
    if any(a == b for a, b in compared):
        with pytest.raises(RowError, match="tie") as caught:
            format.parse(row(*scores))
        assert caught.value.column == "completions"
    else:
        assert len(format.parse(row(*scores))) == (1 if option == "none" else len(compared))


def test_a_list_of_ties_makes_nothing_and_says_so():
    for option in ("none", "best_worst"):
        assert (Ranked(option).parse(row(2, 2)), dict(Ranked(option).left_out(row(2, 2)))) == ([], {"tie": 1})


def test_a_gap_of_exactly_min_gap_is_enough():
    assert dict(Ranked(min_gap=2).left_out(row(2, 1))) == {"scores closer than min_gap": 1}
    assert pairs(Ranked(min_gap=2).parse(row(3, 1))) == [("r0", "r1")]


def test_identical_responses_make_no_pair():
    twice = {"prompt": "q", "completions": ["a", "a ", "b"], "scores": [3, 2, 1]}
    assert pairs(Ranked("all").parse(twice)) == [("a", "b"), ("a ", "b")]
    assert dict(Ranked("all").left_out(twice)) == {"identical responses": 1}
    for option in ("none", "all"):
        with pytest.raises(RowError, match="identical responses"):
            Ranked(option).parse({"prompt": "q", "completions": ["a", "a"], "scores": [3, 2]})


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (row(1), "completions", "only one response"),
        (row(), "completions", "empty list"),
        ({"prompt": "q", "completions": "text", "scores": [1]}, "completions", "not a list"),
        ({"prompt": "q", "completions": ["a", "b"], "scores": [1, 2, 3]}, "scores", "lists of different lengths"),
        ({"prompt": "q", "completions": ["a", "b"], "scores": 1}, "scores", "not a list"),
        ({"prompt": "q", "completions": ["a", "b"]}, "scores", "missing column"),
        ({"completions": ["a", "b"], "scores": [1, 2]}, "prompt", "missing column"),
        ({"prompt": "q", "completions": ["a", ""], "scores": [1, 2]}, "completions[1]", "empty response"),
        ({"prompt": "q", "completions": ["a", None], "scores": [1, 2]}, "completions[1]", "neither text"),
        ({"prompt": "q", "completions": ["a", {"response": "b"}], "scores": [1, 2]}, "completions[1]", "neither text"),
        (row(1, float("nan")), "scores[1]", "not a finite number"),
        (row(1, float("-inf")), "scores[1]", "not a finite number"),
        (row(1, "2"), "scores[1]", "not a number"),
        (row(1, True), "scores[1]", "not a number"),
        (row(1, None), "scores[1]", "not a number"),
        (row(1, 10**400), "scores[1]", "not a number"),
        ({"prompt": "q", "completions": [{"response": "a"}] * 2}, "completions[0]", "missing key: 'score'"),
        ({"prompt": "q", "completions": [{"score": 1}] * 2}, "completions[0]", "missing key: 'response'"),
        ({"prompt": [{"role": "user", "content": "q"}], **row(1, 2)} | {"prompt": 3}, "prompt", "neither text"),
    ],
)
def test_a_bad_row_is_refused_with_column_and_cure(content, column, message):
    with pytest.raises(RowError) as caught:
        Ranked().parse(content)
    assert (caught.value.column, message in caught.value.message, bool(caught.value.cure)) == (column, True, True)


@pytest.mark.parametrize(
    "options", [{"pairs": "bestworst"}, {"ties": "skipp"}, {"min_gap": -1.0}, {"pairs": "none", "min_gap": 1.0}]
)
def test_options_without_meaning_are_refused(options):
    with pytest.raises(ConfigError) as caught:
        Ranked(**options)
    assert caught.value.cure


def test_what_it_matches_and_says():
    assert Ranked().matches(row(1, 2))
    assert Ranked().matches({"prompt": "q", "responses": ["a"], "ratings": [1]})
    assert not Ranked().matches({"prompt": "q", "completions": ["a"], "labels": [True]})
    assert not Ranked().matches({"completions": ["a"], "scores": [1]})
    assert not Ranked().matches({"prompt": "q", "completions": [{"response": "a"}]})
    assert Ranked("none").feedback({}) == {Feedback.LISTWISE}
    assert Feedback.PAIRWISE in Ranked().feedback({})
    assert Ranked(weight="w").parse(row(1, 2, w=3))[0].weight == 3.0
