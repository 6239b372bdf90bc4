"""Which tokens of a pair were corrected, by comparison and by the data's marks, and what they are worth."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, MISMATCHED, REJECTED, Candidate, Comparison
from modalign.core.errors import ConfigError, RowError
from modalign.core.objectives.base import Needs
from modalign.modalities.text.corrected_tokens import corrected_mask, corrected_sums, differing
from modalign.modalities.text.modality import Text
from tests.modalities.text.conftest import PAIRS, chat, pair, reply

NEEDS = Needs(extra=frozenset({"corrected_logps", "corrected_sizes"}))


def flags(text: str) -> tuple[bool, ...]:
    return tuple(letter == "x" for letter in text)


@pytest.mark.parametrize(
    ("first", "second", "in_first", "in_second"),
    [
        ("abcdef", "abcdef", "......", "......"),
        ("abcQdef", "abcRSdef", "...x...", "...xx..."),
        ("abcdef", "abcXYdef", "......", "...xx..."),  # only put in: the first has nothing that the second lacks
        ("abQcd", "abRcd", "xxxxx", "xxxxx"),  # runs of two do not count
        ("abcQd", "abcRd", "...xx", "...xx"),
        ("uvw", "xyz", "xxx", "xxx"),
        ("a", "bcde", "x", "xxxx"),
    ],
)
def test_runs_of_three_tokens_are_unchanged(first: str, second: str, in_first: str, in_second: str) -> None:
    found = differing(tuple(map(ord, first)), tuple(map(ord, second)))
    assert found == (flags(in_first), flags(in_second))


tokens = st.lists(st.integers(0, 3), max_size=25).map(tuple)


@given(first=tokens, second=tokens)
def test_what_is_left_of_both_is_the_same(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    mine, theirs = differing(first, second)
    left = [
        [t for t, gone in zip(all_, out, strict=True) if not gone] for all_, out in ((first, mine), (second, theirs))
    ]
    assert left[0] == left[1]
    assert (len(mine), len(theirs)) == (len(first), len(second))
    assert not any(differing(first, first)[0]) or len(first) < 3


def test_frequent_tokens_of_long_responses_match_too() -> None:
    """By difflib's own rule, a token that makes up more than a hundredth of 200 tokens would begin no run."""
    same = tuple([7, 8] * 120)
    assert not any(differing(same, same)[0])


def test_the_sums_are_those_of_the_tokens(text: Callable[..., Text]) -> None:
    modality = text()
    batch = modality.collate([modality.encode(row) for row in PAIRS], range(3))
    model = modality.load().eval()
    likelihood = modality.likelihood(model, batch, Needs(token_logps=True, extra=NEEDS.extra))
    assert likelihood.token_logps is not None
    for b, row in enumerate(PAIRS):
        ids = [tuple(cell.completion.tolist()) for cell in modality.encode(row).cells]
        for k, mask in enumerate(differing(*ids)):
            own = likelihood.token_logps[b, k, : len(mask)]
            assert likelihood.extra["corrected_sizes"][b, k] == sum(mask)
            expected = own[torch.tensor(mask)].sum()
            torch.testing.assert_close(likelihood.extra["corrected_logps"][b, k], expected)
    assert likelihood.extra["corrected_sizes"].sum() > 0


@pytest.mark.parametrize("layout", ["padded", "packed", "shared_prompt"])
def test_neither_layout_nor_other_cells_change_the_sums(text: Callable[..., Text], layout: Any) -> None:
    plain, modality = text(), text(layout=layout)
    model = plain.load().eval()
    more = [
        Comparison(row.prompt, (Candidate(" go", MISMATCHED), *reversed(row.candidates)))
        for row in PAIRS
        if isinstance(row.prompt, str)
    ]
    found = modality.likelihood(model, modality.collate([modality.encode(row) for row in more], [0, 1]), NEEDS)
    alone = plain.likelihood(model, plain.collate([plain.encode(row) for row in PAIRS[:2]], [0, 1]), NEEDS)
    for name in NEEDS.extra:
        assert not found.extra[name][:, 0].any()
        torch.testing.assert_close(found.extra[name][:, [2, 1]], alone.extra[name], atol=1e-4, rtol=1e-4)


def test_the_sums_have_a_gradient_where_some_cells_have_none(text: Callable[..., Text]) -> None:
    modality = text()
    batch = modality.collate([modality.encode(PAIRS[0])], [0])
    model = modality.load().eval()
    grads = []
    for free in (frozenset(), frozenset({REJECTED})):
        model.zero_grad()
        modality.likelihood(model, batch, Needs(extra=NEEDS.extra, no_grad_roles=free)).extra["corrected_logps"][
            0, 0
        ].backward()
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert any(grad.any() for grad in grads[0])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def marked(modality: Text, row: Comparison) -> list[list[str]]:
    """The words that the mask of each candidate covers, read back from its tokens."""
    batch = modality.collate([modality.encode(row)], [0])
    mask = corrected_mask(batch)
    cells, targets = batch.inputs["cells"], batch.inputs["targets"]
    return [
        [modality.tokenizer.decode([token]) for token in targets[mask & (cells == number)].tolist()]
        for number in range(int(batch.mask.sum()))
    ]


@pytest.mark.parametrize("as_chat", [False, True])
def test_marks_of_the_data_take_the_place_of_the_comparison(text: Callable[..., Text], as_chat: bool) -> None:
    chosen, rejected = "The cat sat on the mat", "The dog sat on the hat"
    start = chosen.index("sat on")
    marks = {CHOSEN: [[start, start + len("sat on")]]}
    row = pair("Who?", chosen, rejected, extra={"corrected": marks})
    if as_chat:
        row = pair(chat("Who?"), reply(chosen), reply(rejected), extra={"corrected": marks})
    mine, theirs = marked(text(), row)
    assert "".join(mine).strip() == "sat on"
    unmarked = pair("Who?", chosen, rejected) if not as_chat else pair(chat("Who?"), reply(chosen), reply(rejected))
    assert theirs == marked(text(), unmarked)[1]
    assert "".join(theirs) != ""


def test_no_marks_at_all_are_marks(text: Callable[..., Text]) -> None:
    row = pair("Who?", "The cat", "The dog", extra={"corrected": {CHOSEN: [], REJECTED: []}})
    assert marked(text(), row) == [[], []]


def test_marks_are_cut_with_the_response(text: Callable[..., Text]) -> None:
    row = pair("Who?", "The cat sat on the mat", "no", extra={"corrected": {CHOSEN: [[0, 22]], REJECTED: []}})
    whole, short = text(), text(max_completion_length=3)
    assert len(marked(short, row)[0]) == 3
    assert marked(short, row)[0] == marked(whole, row)[0][:3]


@given(text_of=st.text(st.sampled_from("ab é漢 \n!"), min_size=1, max_size=12), data=st.data())
def test_the_tokens_of_a_range_hold_its_characters(tokenizer: Any, text_of: str, data: Any) -> None:
    from modalign.modalities.text.corrected_tokens import marked_tokens

    start = data.draw(st.integers(0, len(text_of) - 1))
    end = data.draw(st.integers(start + 1, len(text_of)))
    row = pair("p", text_of, "other", extra={"corrected": {CHOSEN: [[start, end]]}})
    ids = tokenizer(text_of, add_special_tokens=False)["input_ids"]
    (mask, unmarked) = marked_tokens(row, [ids, [1]], [len(ids), 1], tokenizer)
    assert unmarked is None
    places = mask.nonzero().squeeze(1).tolist()
    assert places == list(range(places[0], places[-1] + 1))
    assert text_of[start:end] in tokenizer.decode([ids[place] for place in places])


def test_a_letter_of_several_tokens_is_marked_whole(tokenizer: Any) -> None:
    from modalign.modalities.text.corrected_tokens import marked_tokens

    said = "a 漢é b"
    row = pair("p", said, "other", extra={"corrected": {CHOSEN: [[2, 3]]}})
    ids = tokenizer(said, add_special_tokens=False)["input_ids"]
    mask = marked_tokens(row, [ids, [1]], [len(ids), 1], tokenizer)[0]
    assert mask.sum() > 1
    assert tokenizer.decode([token for token, marked in zip(ids, mask.tolist(), strict=True) if marked]) == "漢"


@pytest.mark.parametrize(
    "marks", [[[0, 1]], {CHOSEN: [[0, 99]]}, {CHOSEN: [[2, 2]]}, {CHOSEN: [[0]]}, {CHOSEN: "0-1"}, {CHOSEN: [["a", 2]]}]
)
def test_malformed_marks_are_bad_rows(text: Callable[..., Text], marks: Any) -> None:
    with pytest.raises(RowError) as caught:
        text().encode(pair("Who?", "The cat", "The dog", extra={"corrected": marks}))
    assert caught.value.column == "corrected_spans"


def test_other_quantities_are_refused(text: Callable[..., Text]) -> None:
    modality = text()
    batch = modality.collate([modality.encode(PAIRS[0])], [0])
    with pytest.raises(ConfigError, match="misled_logps"):
        modality.likelihood(modality.load(), batch, Needs(extra=frozenset({"misled_logps"})))


def test_a_batch_without_pairs_has_no_corrected_tokens(text: Callable[..., Text]) -> None:
    modality = text()
    row = Comparison("The cat", (Candidate(" sat", score=1.0),))
    batch = modality.collate([modality.encode(row)], [0])
    sums = corrected_sums(torch.ones(len(batch.inputs["targets"])), batch)
    assert not sums["corrected_sizes"].any()
