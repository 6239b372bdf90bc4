"""Laying token cells out as tensors, in one of three layouts, and finding the tokens to be scored in them.

- `padded`: a cell a row, then padding.
- `packed`: one row, a cell after another.
- `shared_prompt`: a prompt a row with the completions of all cells that have it, one after another, then padding.

The tensors in `batch.inputs`, for N cells in R rows of T tokens, M of which are scored:

| name             | shape  |                                                                                          |
|------------------|--------|------------------------------------------------------------------------------------------|
| `input_ids`      | (R, T) | the tokens                                                                               |
| `attention_mask` | (R, T) | 1 on tokens, 0 on padding; only in `padded`                                              |
| `position_ids`   | (R, T) | each token's place in its own sequence; absent where that is its place in the row        |
| `owners`         | (R, T) | the cell a token belongs to, or `PROMPT` (all cells of its row), or `PADDING` (none)     |
| `predictors`     | (M,)   | place in the flattened (R T) of the token that predicts each scored token                |
| `targets`        | (M,)   | the scored tokens                                                                        |
| `cells`          | (M,)   | which cell each belongs to                                                               |
| `offsets`        | (M,)   | its place in its response                                                                |
| `corrected`      | (M,)   | 1 or 0 where the data marks corrected tokens, else `UNMARKED`; absent if it marks none   |

Beside them are `longest`, the length of the longest cell as a plain int, so that nobody has to ask the device, and
`layout`, the layout's name.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modalign.modalities.text.corrected_tokens import UNMARKED
from modalign.modalities.text.encoding import TextCell

Layout = Literal["padded", "packed", "shared_prompt"]

PROMPT = -1
PADDING = -2
TOKEN_TENSORS = {"input_ids": 0, "attention_mask": 0, "position_ids": 0, "owners": PADDING}
"""The tensors of shape (R, T), and what they hold on padding."""
SCORED_TENSORS = ("targets", "offsets", "corrected")
"""The tensors of shape (M,) whose values stay the same when cells are left out."""


def collate(cells: Sequence[TextCell], layout: Layout) -> dict[str, Any]:
    """The tensors of N >= 1 cells."""
    return {**LAYOUTS[layout](cells), "longest": max(map(_length, cells)), "layout": layout}


def select_cells(inputs: dict[str, Any], keep: Tensor) -> dict[str, Any]:
    """The same tensors for some of the cells, without rows and columns in which nothing is left.

    Args:
        inputs: As collated.
        keep: `(N,)` bool, true somewhere.
    """
    owners, number, scored = inputs["owners"], keep.cumsum(0) - 1, keep[inputs["cells"]]
    owned, owner = owners >= 0, owners.clamp(min=0)
    kept = owned & keep[owner]
    rows = kept.any(1)
    kept |= (owners == PROMPT) & rows[:, None]
    shape = (int(rows.sum()), int(kept.sum(1).max()))
    place = (rows.cumsum(0) - 1)[:, None] * shape[1] + kept.cumsum(1) - 1
    renumbered = {**inputs, "owners": torch.where(owned, number[owner], owners)}
    tokens = {}
    for name, padding in TOKEN_TENSORS.items():
        if name in inputs:
            tokens[name] = torch.full(shape, padding, device=keep.device)
            tokens[name].view(-1)[place[kept]] = renumbered[name][kept]
    return {
        **inputs,
        **tokens,
        "predictors": place.view(-1)[inputs["predictors"][scored]],
        "cells": number[inputs["cells"][scored]],
        **{name: inputs[name][scored] for name in SCORED_TENSORS if name in inputs},
    }


def _padded(cells: Sequence[TextCell]) -> dict[str, Any]:
    """Padding is at the end; causal models never look there."""
    owners = _pad([torch.full((_length(cell),), number) for number, cell in enumerate(cells)], PADDING)
    starts = [row * owners.shape[1] + len(cell.prompt) for row, cell in enumerate(cells)]
    return {
        "input_ids": _pad([torch.cat([cell.prompt, cell.completion]) for cell in cells]),
        "attention_mask": (owners != PADDING).long(),
        "owners": owners,
        **_scored(cells, [start - 1 for start in starts], starts),
    }


def _packed(cells: Sequence[TextCell]) -> dict[str, Any]:
    """Attention tells the cells apart by positions that start again."""
    starts, end = [], 0
    for cell in cells:
        starts.append(end + len(cell.prompt))
        end += _length(cell)
    return {
        "input_ids": torch.cat([part for cell in cells for part in (cell.prompt, cell.completion)]).long()[None],
        "position_ids": torch.cat([torch.arange(_length(cell)) for cell in cells])[None],
        "owners": torch.cat([torch.full((_length(cell),), number) for number, cell in enumerate(cells)])[None],
        **_scored(cells, [start - 1 for start in starts], starts),
    }


def _shared_prompt(cells: Sequence[TextCell]) -> dict[str, Any]:
    """A prompt's last token predicts the first token of every completion of its row."""
    groups = _groups_of_one_prompt(cells)
    ids, positions, owners = [], [], []
    for group in groups:
        prompt, completions = cells[group[0]].prompt, [cells[number].completion for number in group]
        lengths = [len(completion) for completion in completions]
        ids.append(torch.cat([prompt, *completions]))
        positions.append(torch.cat([torch.arange(len(prompt)), *(torch.arange(n) + len(prompt) for n in lengths)]))
        owners.append(torch.tensor([PROMPT, *group]).repeat_interleave(torch.tensor([len(prompt), *lengths])))
    input_ids = _pad(ids)
    prompt_ends, starts = [], []
    for row, group in enumerate(groups):
        start = row * input_ids.shape[1] + len(cells[group[0]].prompt)
        prompt_ends += [start - 1] * len(group)
        for number in group:
            starts.append(start)
            start += len(cells[number].completion)
    return {
        "input_ids": input_ids,
        "position_ids": _pad(positions),
        "owners": _pad(owners, PADDING),
        **_scored(cells, prompt_ends, starts),
    }


LAYOUTS: dict[Layout, Callable[[Sequence[TextCell]], dict[str, Any]]] = {
    "padded": _padded,
    "packed": _packed,
    "shared_prompt": _shared_prompt,
}


def _groups_of_one_prompt(cells: Sequence[TextCell]) -> list[list[int]]:
    """The numbers of neighbouring cells with equal prompts; no row grows beyond twice the longest cell.

    Two cells always fit into that. More of them would cost more in attention, which compares every pair of a row's
    tokens, than the prompt costs.
    """
    limit = 2 * max(map(_length, cells))
    groups: list[list[int]] = []
    width = 0
    for number, cell in enumerate(cells):
        fits = width + len(cell.completion) <= limit
        if groups and fits and torch.equal(cells[groups[-1][0]].prompt, cell.prompt):
            groups[-1].append(number)
            width += len(cell.completion)
        else:
            groups.append([number])
            width = _length(cell)
    return groups


def _length(cell: TextCell) -> int:
    return len(cell.prompt) + len(cell.completion)


def _pad(rows: Sequence[Tensor], padding: int = 0) -> Tensor:
    return pad_sequence([row.long() for row in rows], batch_first=True, padding_value=padding)


def _scored(cells: Sequence[TextCell], prompt_ends: Sequence[int], starts: Sequence[int]) -> dict[str, Tensor]:
    """The scored tokens, and where they are.

    Args:
        cells: N of them.
        prompt_ends: N places in the flattened rows, of each cell's last prompt token.
        starts: N places, of its first scored token.
    """
    sizes = [len(cell.completion) for cell in cells]
    predictors = [
        torch.tensor([end, *range(start, start + size - 1)])
        for end, start, size in zip(prompt_ends, starts, sizes, strict=True)
    ]
    scored = {
        "predictors": torch.cat(predictors),
        "targets": torch.cat([cell.completion for cell in cells]).long(),
        "cells": torch.arange(len(cells)).repeat_interleave(torch.tensor(sizes)),
        "offsets": torch.cat([torch.arange(size) for size in sizes]),
    }
    if any(cell.corrected is not None for cell in cells):
        scored["corrected"] = torch.cat([_corrected(cell) for cell in cells])
    return scored


def _corrected(cell: TextCell) -> Tensor:
    return torch.full_like(cell.completion, UNMARKED, dtype=torch.int8) if cell.corrected is None else cell.corrected
