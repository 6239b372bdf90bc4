"""From N cells to the tensors that a diffusion likelihood reads."""

from collections.abc import Sequence
from typing import Any

import torch

from modalign.modalities.diffusion.cells import DiffusionCell
from modalign.modalities.diffusion.frozen_cache import FrozenCache
from modalign.modalities.diffusion.frozen_outputs import Record, stacked, stacked_prompts

TEXT = "text."
"""How the names of cached prompt encodings begin."""


def cell_inputs(cells: Sequence[DiffusionCell], cache: FrozenCache | None) -> dict[str, Any]:
    """Tensors of N cells with P different prompts.

    Args:
        cells: As an epoch shows them.
        cache: Where the latents of cells without media are.

    Returns:
        - `media` `(N, ...)`, of the cells whose latents are not in the cache;
        - `latents` `(N, ...)`, and `latents_std` where the encoder's distribution has one, of those whose are;
        - `cached` `(N,)` bool, which are which, where there are both;
        - `prompts`, P strings, or `text.<name>` `(P, ...)` where all are in the cache; `prompt_index` `(N,)`;
        - `numbers` `(N, M)` float32, where the modality has such.
    """
    prompts = list(dict.fromkeys(cell.prompt for cell in cells))
    place = {prompt: number for number, prompt in enumerate(prompts)}
    inputs: dict[str, Any] = {"prompt_index": torch.tensor([place[cell.prompt] for cell in cells])}
    if cache is not None and all(cache.has_prompt(prompt) for prompt in prompts):
        encodings = stacked_prompts([cache.prompt(prompt) for prompt in prompts])
        inputs |= {f"{TEXT}{name}": values for name, values in encodings.items()}
    else:
        inputs["prompts"] = tuple(prompts)
    return inputs | _media_inputs(cells, cache)


def _media_inputs(cells: Sequence[DiffusionCell], cache: FrozenCache | None) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    media = [cell.media for cell in cells if cell.media is not None]
    records: list[Record | None] = [
        cache.medium(cell.key, cell.flipped) if cache is not None and cell.media is None else None for cell in cells
    ]
    numbers = [
        torch.tensor(cell.numbers, dtype=torch.float32) if record is None else record["numbers"]
        for cell, record in zip(cells, records, strict=True)
    ]
    if numbers[0].numel():
        inputs["numbers"] = torch.stack(numbers)
    if media:
        inputs["media"] = torch.stack(media)
    if kept := [{name: values for name, values in record.items() if name != "numbers"} for record in records if record]:
        latents = stacked(kept)
        inputs["latents"] = latents["mean"]
        if "std" in latents:
            inputs["latents_std"] = latents["std"]
    if media and kept:
        inputs["cached"] = torch.tensor([record is not None for record in records])
    return inputs
