"""A cell of a language model of codec tokens, and cells as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modalign.modalities.audio.tokens.family import padded


@dataclass(frozen=True)
class TokenCell:
    """A sound under a prompt.

    Attributes:
        key: A hash of the sound's content.
        prompt: What it was made of.
        ids: The prompt's tokens.
        frames: Of codes.
        whole: Whether they are all of the sound, rather than its beginning.
        codes: `(frames, K)`, where the cache has them.
        samples: `(channels, samples)` at the codec's rate, where it has not.
    """

    key: str
    prompt: str
    ids: Sequence[int]
    frames: int
    whole: bool
    codes: Tensor | None = None
    samples: Tensor | None = None

    def content_key(self) -> tuple[str, str]:
        """What decides its likelihood, beside the modality's options; the same whether its codes are cached or not."""
        return self.key, self.prompt


def cell_inputs(cells: Sequence[TokenCell], codebooks: int) -> dict[str, Any]:
    """Tensors of N cells with P different prompts.

    Args:
        cells: N of them.
        codebooks: K.

    Returns:
        - `codes` `(N, T, K)`, zeros where they are not known, `frames` `(N,)` and `whole` `(N,)` bool;
        - `samples`, the sounds whose codes are not known, and `live`, their places among the cells, where there are
          such;
        - `prompt_ids` and `prompt_mask` `(P, S)`, and `prompt_index` `(N,)`.
    """
    prompts = {cell.prompt: cell.ids for cell in cells}
    places = {prompt: place for place, prompt in enumerate(prompts)}
    ids, mask = padded(list(prompts.values()))
    codes = torch.zeros(len(cells), max(cell.frames for cell in cells), codebooks, dtype=torch.long)
    for place, cell in enumerate(cells):
        if cell.codes is not None:
            codes[place, : cell.frames] = cell.codes
    inputs: dict[str, Any] = {
        "codes": codes,
        "frames": torch.tensor([cell.frames for cell in cells]),
        "whole": torch.tensor([cell.whole for cell in cells]),
        "prompt_ids": ids,
        "prompt_mask": mask,
        "prompt_index": torch.tensor([places[cell.prompt] for cell in cells]),
    }
    live = [(place, cell.samples) for place, cell in enumerate(cells) if cell.samples is not None]
    if live:
        inputs["live"] = torch.tensor([place for place, _ in live])
        inputs["samples"] = tuple(samples for _, samples in live)
    return inputs
