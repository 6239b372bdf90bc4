"""Laying cells with media out as tensors: tokens as in text's `padded` layout, media once each.

Beside the tensors that `modalign.modalities.text.collation` makes, `batch.inputs` holds for N cells of at most T
tokens:

| name         |                                                                                                       |
|--------------|-------------------------------------------------------------------------------------------------------|
| `token_wise` | by the processor's key, (N, T, ...): what it says of each token, such as its type                     |
| `media`      | a list with the processor's tensors for each distinct set of media, none of which is cut or joined    |
| `media_of`   | N plain ints: which of `media` belongs to the cell, or `NO_MEDIA`                                     |
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from modalign.modalities.text import collation as text_collation
from modalign.modalities.vision_language.cell import MediaCell

NO_MEDIA = -1
CROSS_ATTENTION = "cross_attention_mask"
"""(P, images, tiles): which tiles a token sees. What follows the last image sees what the prompt's last token sees."""


def collate(cells: Sequence[MediaCell]) -> dict[str, Any]:
    """The tensors of N >= 1 cells."""
    inputs = text_collation.collate(cells, "padded")
    media: dict[str, dict[str, Tensor]] = {}
    for cell in cells:
        if cell.media_key:
            media.setdefault(cell.media_key, dict(cell.media))
    numbers = {key: number for number, key in enumerate(media)}
    return {
        **inputs,
        "token_wise": _token_wise(cells, inputs["input_ids"].shape[1]),
        "media": list(media.values()),
        "media_of": tuple(numbers.get(cell.media_key, NO_MEDIA) for cell in cells),
    }


def select_cells(inputs: dict[str, Any], keep: Tensor) -> dict[str, Any]:
    """The same for some of the cells.

    Args:
        inputs: As collated; with the `features` of each of its `media`, if they have been encoded.
        keep: `(N,)` bool, true somewhere.
    """
    selected = text_collation.select_cells(inputs, keep)
    width = selected["input_ids"].shape[1]
    kept = [number for number, wanted in zip(inputs["media_of"], keep.tolist(), strict=True) if wanted]
    used = sorted({number for number in kept if number != NO_MEDIA})
    return {
        **selected,
        "token_wise": {name: values[keep, :width] for name, values in inputs["token_wise"].items()},
        **{name: [inputs[name][number] for number in used] for name in ("media", "features") if name in inputs},
        "media_of": tuple(NO_MEDIA if number == NO_MEDIA else used.index(number) for number in kept),
    }


def _token_wise(cells: Sequence[MediaCell], width: int) -> dict[str, Tensor]:
    """Zero, which is an ordinary text token in every family, for completions, padding and prompts that lack a key."""
    names = sorted({name for cell in cells for name in cell.token_wise})
    return {name: _padded(name, cells, width) for name in names}


def _padded(name: str, cells: Sequence[MediaCell], width: int) -> Tensor:
    rows = [
        _continued(name, cell.token_wise[name], len(cell.completion)) if name in cell.token_wise else None
        for cell in cells
    ]
    given = [row for row in rows if row is not None]
    # Prompts with fewer images have fewer columns for them.
    shape = (width, *(max(row.shape[axis] for row in given) for axis in range(1, given[0].dim())))
    return torch.stack([given[0].new_zeros(shape) if row is None else _grown(row, shape) for row in rows])


def _continued(name: str, prompt: Tensor, length: int) -> Tensor:
    """The values of a prompt's tokens, and of as many tokens of its completion."""
    if name == CROSS_ATTENTION:
        return torch.cat([prompt, prompt[-1:].expand(length, *prompt.shape[1:])])
    return torch.cat([prompt, prompt.new_zeros(length, *prompt.shape[1:])])


def _grown(row: Tensor, shape: tuple[int, ...]) -> Tensor:
    missing = [wanted - size for wanted, size in zip(shape, row.shape, strict=True)]
    return pad(row, [amount for size in reversed(missing) for amount in (0, size)])
