"""What is cut, alike for all candidates, and counted; what is never cut silently."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import RowError, UserError
from modalign.modalities.text.modality import Text
from modalign.modalities.text.truncation import Limits

from .conftest import pair

MakeText = Callable[..., Text]
PROMPT = list(range(10, 20))


def test_the_prompts_end_is_kept_by_default() -> None:
    limits = Limits(max_length=8)
    assert limits.fit([PROMPT, PROMPT], [[1, 2], [3, 4, 5]], bos=None) == [
        ([15, 16, 17, 18, 19], [1, 2]),
        ([15, 16, 17, 18, 19], [3, 4, 5]),
    ]


def test_the_begin_token_is_kept() -> None:
    assert Limits(max_length=5).fit([PROMPT], [[1, 2]], bos=10) == [([10, 18, 19], [1, 2])]
    assert Limits(max_length=3).fit([PROMPT], [[1, 2]], bos=10) == [([19], [1, 2])]


def test_the_prompts_start_is_kept_on_request() -> None:
    assert Limits(max_length=5, truncation="keep_start").fit([PROMPT], [[1, 2]], bos=None) == [([10, 11, 12], [1, 2])]


def test_a_long_prompt_is_an_error_on_request() -> None:
    limits = Limits(max_length=11, truncation="error")
    assert limits.fit([PROMPT], [[1]], bos=None) == [(PROMPT, [1])]
    with pytest.raises(RowError, match="the prompt has 10 tokens, and 9 fit"):
        limits.fit([PROMPT], [[1, 2]], bos=None)


def test_responses_are_cut_at_the_same_length_and_only_on_request() -> None:
    limits = Limits(max_length=20, max_completion_length=3)
    assert limits.fit([[9], [9]], [[1, 2, 3, 4], [5, 6]], bos=None) == [([9], [1, 2, 3]), ([9], [5, 6])]
    with pytest.raises(RowError, match="a response has 8 tokens, which leaves no room for its prompt in 8"):
        Limits(max_length=8).fit([[9]], [list(range(8))], bos=None)


def test_candidates_that_are_cut_to_the_same_are_refused() -> None:
    with pytest.raises(RowError, match="the same once they are cut"):
        Limits(max_completion_length=2).fit([[9], [9]], [[1, 2, 3], [1, 2, 4]], bos=None)
    with pytest.raises(RowError, match="the same once they are cut"):
        Limits(max_prompt_length=1).fit([[8, 9], [7, 9]], [[1], [1]], bos=None)
    # Equal before, equal after: that is for the format to judge.
    assert len(Limits(max_completion_length=1).fit([[9], [9]], [[1, 2], [1, 2]], bos=None)) == 2


@pytest.mark.parametrize("name", ["max_length", "max_prompt_length", "max_completion_length"])
def test_limits_count_tokens(name: str) -> None:
    with pytest.raises(UserError, match=f"modality.{name} is 0"):
        Limits(**{name: 0})


lengths = st.integers(1, 30)


@given(prompt=lengths, first=lengths, second=lengths, limits=st.tuples(*[st.none() | lengths] * 3))
def test_nothing_is_longer_than_allowed(
    prompt: int, first: int, second: int, limits: tuple[int | None, int | None, int | None]
) -> None:
    total, of_prompt, of_completion = limits
    completions = [list(range(100, 100 + first)), list(range(200, 200 + second))]
    chosen = Limits(total, of_prompt, of_completion)
    try:
        fitted = chosen.fit([list(range(prompt))] * 2, completions, bos=0)
    except RowError:
        longest = min(max(first, second), of_completion or 99)
        assert total is not None
        assert longest >= total
        return
    assert fitted[0][0] == fitted[1][0]
    for (kept, completion), whole in zip(fitted, completions, strict=True):
        assert 1 <= len(kept) <= (of_prompt or 99)
        assert len(kept) + len(completion) <= (total or 999)
        assert completion == whole[: of_completion or 99]
        assert kept[-1] == prompt - 1


def test_an_example_says_whether_it_was_cut(text: MakeText) -> None:
    modality = text(max_length=16)
    assert not modality.encode(pair("The cat", " sat", " said")).truncated
    cut = modality.encode(pair("The cat number 3 sat on the mat and said: " * 3, " go 1!", " no"))
    assert cut.truncated
    assert max(len(cell.prompt) + len(cell.completion) for cell in cut.cells) == 16
    assert torch.equal(cut.cells[0].prompt, cut.cells[1].prompt)
    assert text(max_completion_length=2).encode(Comparison("a", (Candidate("The cat sat"),))).truncated
    assert text(max_completion_length=2).encode(Comparison("a", (Candidate("The cat sat"),))).sizes == (2,)
