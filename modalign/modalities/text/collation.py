"""Laying token cells out as tensors, padded or packed, and finding the tokens to be scored in them.

The tensors in `batch.inputs`, for N cells in R rows of T tokens, M of which are scored:

| name             | shape  | padded, R = N               | packed, R = 1                                     |
|------------------|--------|-----------------------------|---------------------------------------------------|
| `input_ids`      | (R, T) | one cell a row, then zeros  | one cell after another                            |
| `attention_mask` | (R, T) | 1 on a cell's tokens        | absent                                            |
| `position_ids`   | (R, T) | absent                      | starting from 0 with every cell                   |
| `predictors`     | (M,)   | place in the flattened (R T) of the token before each scored token |            |
| `targets`        | (M,)   | the scored tokens           |                                                   |
| `cells`          | (M,)   | which cell each belongs to  |                                                   |
| `offsets`        | (M,)   | its place in its response   |                                                   |

`longest` is the length of the longest cell, as a plain int, so that nobody has to ask the device.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modalign.modalities.text.encoding import TextCell

MODEL_INPUTS = ("input_ids", "attention_mask", "position_ids")


def collate_padded(cells: Sequence[TextCell]) -> dict[str, Any]:
    """One row a cell, padded at its end; causal models never look there."""
    sequences = _sequences(cells)
    input_ids = pad_sequence(sequences, batch_first=True)
    attention_mask = pad_sequence([torch.ones_like(sequence) for sequence in sequences], batch_first=True)
    starts = [row * input_ids.shape[1] for row in range(len(cells))]
    return {"input_ids": input_ids, "attention_mask": attention_mask, **_scored(cells, starts)}


def collate_packed(cells: Sequence[TextCell]) -> dict[str, Any]:
    """All cells in one row without padding; attention tells them apart by positions that start again."""
    sequences = _sequences(cells)
    positions = torch.cat([torch.arange(len(sequence)) for sequence in sequences])
    starts = [0, *torch.tensor([len(sequence) for sequence in sequences]).cumsum(0).tolist()[:-1]]
    return {"input_ids": torch.cat(sequences)[None], "position_ids": positions[None], **_scored(cells, starts)}


def model_inputs(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Those of the tensors that a model is called with."""
    return {name: inputs[name] for name in MODEL_INPUTS if name in inputs}


def select_cells(inputs: dict[str, Any], keep: Tensor) -> dict[str, Any]:
    """The same tensors for some of the cells.

    Args:
        inputs: As collated.
        keep: `(N,)` bool.
    """
    rows, width = inputs["input_ids"].shape
    packed = "position_ids" in inputs
    if packed:
        owner = (inputs["position_ids"][0] == 0).cumsum(0) - 1
    else:
        owner = torch.arange(rows, device=keep.device).repeat_interleave(width)
    kept_tokens, scored = keep[owner], keep[inputs["cells"]]
    place = kept_tokens.cumsum(0) - 1
    shape = (1, -1) if packed else (-1, width)
    number = keep.cumsum(0) - 1
    return {
        **{name: tensor.reshape(-1)[kept_tokens].view(shape) for name, tensor in model_inputs(inputs).items()},
        "predictors": place[inputs["predictors"][scored]],
        "targets": inputs["targets"][scored],
        "cells": number[inputs["cells"][scored]],
        "offsets": inputs["offsets"][scored],
        "longest": inputs["longest"],
    }


def _sequences(cells: Sequence[TextCell]) -> list[Tensor]:
    return [torch.cat([cell.prompt, cell.completion]).long() for cell in cells]


def _scored(cells: Sequence[TextCell], starts: Sequence[int]) -> dict[str, Any]:
    """Where the scored tokens are, for cells whose first tokens lie at `starts`."""
    offsets = [torch.arange(len(cell.completion)) for cell in cells]
    first = [start + len(cell.prompt) - 1 for start, cell in zip(starts, cells, strict=True)]
    return {
        "predictors": torch.cat([place + offset for place, offset in zip(first, offsets, strict=True)]),
        "targets": torch.cat([cell.completion for cell in cells]).long(),
        "cells": torch.cat([torch.full_like(offset, number) for number, offset in enumerate(offsets)]),
        "offsets": torch.cat(offsets),
        "longest": max(len(cell.prompt) + len(cell.completion) for cell in cells),
    }
