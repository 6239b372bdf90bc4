"""The pair audit counts what it says, whatever the order of the data."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.audit import audit, preferences, text_length, ties, wilson_interval
from modalign.core.batch import Candidate, Comparison


def pair(chosen: Any, rejected: Any, prompt: Any = "p", scores: tuple[float, float] | None = None) -> Comparison:
    a, b = scores or (None, None)
    return Comparison(prompt, (Candidate(chosen, "chosen", a), Candidate(rejected, "rejected", b)))


def label(response: str, score: float, prompt: str = "p") -> Comparison:
    return Comparison(prompt, (Candidate(response, score=score),))


def ranked(*scores: float) -> Comparison:
    return Comparison("p", tuple(Candidate(f"r{i}", score=score) for i, score in enumerate(scores)))


def test_a_clean_set_has_nothing_to_report() -> None:
    found = audit([pair("aa", "b"), pair("c", "dd"), pair("aa", "b", prompt="q")])
    assert (found.comparisons, found.pairs) == (3, 3)
    assert (found.ties, found.identical, found.duplicates, found.contradictions, found.opaque) == (0, 0, 0, 0, 0)


def test_duplicates_contradictions_and_identical_sides() -> None:
    found = audit([pair("a", "b"), pair("a", "b"), pair("b", "a"), pair("c", "c")])
    assert (found.duplicates, found.contradictions, found.identical) == (1, 1, 1)


def test_chat_messages_are_compared_by_content() -> None:
    def chat(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    reordered = [{"content": "a", "role": "assistant"}]
    found = audit([pair(chat("a"), chat("b")), pair(reordered, chat("b")), pair(chat("b"), chat("a"))])
    assert (found.duplicates, found.contradictions) == (1, 1)
    assert (found.longer, found.shorter) == (0, 0)


def test_the_context_of_a_candidate_counts() -> None:
    one = Comparison("p", (Candidate("a", "chosen"), Candidate("a", "rejected", context="other")))
    found = audit([one])
    assert found.identical == 0


def test_a_list_counts_as_its_pairs() -> None:
    assert len(preferences(ranked(3.0, 1.0, 2.0))) == 3
    assert [p.preferred.response for p in preferences(ranked(1.0, 4.0))] == ["r1"]
    assert ties(ranked(2.0, 2.0, 2.0, 1.0)) == 3
    found = audit([ranked(3.0, 1.0, 1.0)])
    assert (found.pairs, found.ties) == (2, 1)


def test_a_tie_in_the_scores_of_a_pair() -> None:
    assert audit([pair("a", "b", scores=(1.0, 1.0)), pair("c", "d", scores=(2.0, 1.0))]).ties == 1


def test_labels_may_repeat_or_contradict() -> None:
    found = audit([label("a", 1.0), label("a", 1.0), label("a", 0.0), label("b", 0.0)])
    assert (found.pairs, found.duplicates, found.contradictions) == (0, 1, 1)


def test_media_are_compared_where_they_can_be() -> None:
    same = audit([pair(torch.ones(3), torch.zeros(3)), pair(torch.ones(3), torch.zeros(3))])
    assert (same.duplicates, same.opaque) == (1, 0)
    assert audit([pair(object(), object())]).opaque == 1
    assert audit([pair(object(), object())]).longer_share is None


@pytest.mark.parametrize(
    ("response", "length"),
    [
        ("abc", 3),
        ("", 0),
        ([{"role": "assistant", "content": "ab"}, {"role": "user", "content": "c"}], 3),
        ([{"role": "assistant", "content": [{"type": "text", "text": "abcd"}]}], 4),
        ([{"role": "assistant", "content": [{"type": "image"}]}], None),
        (b"abc", None),
        (3, None),
        (None, None),
    ],
)
def test_text_length(response: Any, length: int | None) -> None:
    assert text_length(response) == length


def test_length_bias_is_told_with_its_interval() -> None:
    found = audit([pair("long" * (i + 1), "b", prompt=str(i)) for i in range(30)])
    assert found.longer_share is not None
    share, low, high = found.longer_share
    assert share == 1.0
    assert 0.85 < low < 0.9
    assert math.isclose(high, 1.0)
    assert any("length tells part of the preference" in line for line in found.lines())


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval(successes: int, total: int, low: float, high: float) -> None:
    found = wilson_interval(successes, total)
    assert found == pytest.approx((low, high), abs=5e-5)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from("pq")), max_size=12))
def test_order_changes_no_count(rows: list[tuple[str, str, str]]) -> None:
    comparisons = [pair(chosen, rejected, prompt) for chosen, rejected, prompt in rows]
    forward, backward = audit(comparisons), audit(reversed(comparisons))
    assert forward.duplicates == len([r for r in rows if r[0] != r[1]]) - len({r for r in rows if r[0] != r[1]})
    assert (forward.pairs, forward.identical, forward.duplicates, forward.longer) == (
        backward.pairs,
        backward.identical,
        backward.duplicates,
        backward.longer,
    )


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=12))
def test_swapping_all_sides_mirrors_the_lengths(rows: list[tuple[str, str]]) -> None:
    plain = audit(pair(a, b) for a, b in rows)
    swapped = audit(pair(b, a) for a, b in rows)
    assert (plain.longer, plain.shorter, plain.contradictions) == (
        swapped.shorter,
        swapped.longer,
        swapped.contradictions,
    )
