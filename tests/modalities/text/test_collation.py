"""The three layouts: every cell can be read back from its tensors, and so it can after some cells are left out."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.modalities.text.collation import LAYOUTS, PADDING, PROMPT, Layout, collate, select_cells
from modalign.modalities.text.encoding import TextCell

Tokens = tuple[list[int], list[int]]


def cell(prompt: list[int], completion: list[int]) -> TextCell:
    return TextCell(torch.tensor(prompt, dtype=torch.int32), torch.tensor(completion, dtype=torch.int32))


def read_back(inputs: dict[str, Any]) -> list[Tokens]:
    """Each cell's prompt and completion, from what its tokens may see, their positions and the places that predict."""
    ids, owners = inputs["input_ids"], inputs["owners"]
    default = torch.arange(ids.shape[1]).expand_as(ids)
    positions = inputs.get("position_ids", default)
    found = []
    for number in range(int(inputs["cells"].max()) + 1):
        mine = inputs["cells"] == number
        row = int((owners == number).any(1).nonzero().item())
        seen = (owners[row] == number) | (owners[row] == PROMPT)
        assert positions[row][seen].tolist() == list(range(int(seen.sum())))
        tokens, targets = ids[row][seen].tolist(), inputs["targets"][mine].tolist()
        assert inputs["offsets"][mine].tolist() == list(range(len(targets)))
        begin = len(tokens) - len(targets)
        assert tokens[begin:] == targets
        assert inputs["predictors"][mine].tolist() == (
            (row * ids.shape[1] + seen.nonzero().squeeze(1))[begin - 1 : -1].tolist()
        )
        found.append((tokens[:begin], targets))
    return found


token = st.integers(1, 9)
completions = st.lists(st.lists(token, min_size=1, max_size=5), min_size=1, max_size=4)
rows = st.lists(st.tuples(st.lists(token, min_size=1, max_size=6), completions), min_size=1, max_size=4)


@given(rows=rows, layout=st.sampled_from(list(LAYOUTS)), data=st.data())
def test_cells_can_be_read_back(rows: Any, layout: Layout, data: Any) -> None:
    cells = [(prompt, completion) for prompt, many in rows for completion in many]
    inputs = collate([cell(*tokens) for tokens in cells], layout)
    assert read_back(inputs) == cells
    assert (inputs["input_ids"][inputs["owners"] == PADDING] == 0).all()
    assert inputs["longest"] == max(len(prompt) + len(completion) for prompt, completion in cells)
    if layout == "padded":
        assert torch.equal(inputs["attention_mask"], (inputs["owners"] != PADDING).long())
    if layout == "shared_prompt":
        assert inputs["input_ids"].shape[1] <= 2 * inputs["longest"]

    keep = data.draw(st.lists(st.booleans(), min_size=len(cells), max_size=len(cells)).filter(any))
    kept = select_cells(inputs, torch.tensor(keep))
    assert kept.keys() == inputs.keys()
    assert read_back(kept) == [tokens for tokens, wanted in zip(cells, keep, strict=True) if wanted]
    # Nothing is left of the others.
    assert kept["input_ids"].numel() <= inputs["input_ids"].numel()
    assert (kept["owners"] >= 0).any(1).all()
    assert (kept["owners"] != PADDING).any(0).all()


def test_a_shared_prompt_stands_once() -> None:
    cells = [cell([1, 2, 3], [4, 5]), cell([1, 2, 3], [6]), cell([7], [8]), cell([1, 2, 3], [9])]
    inputs = collate(cells, "shared_prompt")
    # The third cell has a context of its own, which ends the first row; the fourth begins another.
    assert inputs["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 0, 0, 0, 0], [1, 2, 3, 9, 0, 0]]
    assert inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3], [0, 1, 0, 0, 0, 0], [0, 1, 2, 3, 0, 0]]
    assert inputs["owners"].tolist() == [[-1, -1, -1, 0, 0, 1], [-1, 2, -2, -2, -2, -2], [-1, -1, -1, 3, -2, -2]]
    assert inputs["predictors"].tolist() == [2, 3, 2, 6, 14]
    assert inputs["targets"].tolist() == [4, 5, 6, 8, 9]


@pytest.mark.parametrize(("prompt", "candidates", "rows"), [(6, 2, 1), (6, 4, 1), (1, 2, 1), (1, 6, 3)])
def test_rows_do_not_grow_beyond_two_cells(prompt: int, candidates: int, rows: int) -> None:
    cells = [cell([1] * prompt, [n, n, n]) for n in range(1, candidates + 1)]
    assert len(collate(cells, "shared_prompt")["input_ids"]) == rows
