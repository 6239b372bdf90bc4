"""From N cells to the tensors that a diffusion likelihood reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modalign.modalities.diffusion.cells import DiffusionCell
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.frozen_cache import FrozenCache
from modalign.modalities.diffusion.frozen_outputs import Record, stacked, stacked_prompts, widened

_LATENTS = {"mean": "latents", "std": "latents_std"}
"""What the tensors of a medium's record are called in a batch."""

Unconditional = Callable[[Conditioning, Conditioning], Conditioning]

TEXT = "text."
"""How the names of prompt encodings begin in a batch."""


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
        - `caption_index` `(N,)`, where some captions are dropped: theirs, and -1 for a cell that keeps its own;
        - `numbers` `(N, M)` float32, where the modality has such.
    """
    captions = [cell.dropped for cell in cells if cell.dropped is not None]
    prompts = list(dict.fromkeys([*(cell.prompt for cell in cells), *captions]))
    place = {prompt: number for number, prompt in enumerate(prompts)}
    inputs: dict[str, Any] = {"prompt_index": torch.tensor([place[cell.prompt] for cell in cells])}
    if captions:
        places = [-1 if cell.dropped is None else place[cell.dropped] for cell in cells]
        inputs["caption_index"] = torch.tensor(places)
    if cache is not None and all(cache.has_prompt(prompt) for prompt in prompts):
        inputs |= _text_inputs([cache.prompt(prompt) for prompt in prompts])
    else:
        inputs["prompts"] = tuple(prompts)
    return inputs | _media_inputs(cells, cache)


def encoded_inputs(
    inputs: Mapping[str, Any], encode_medium: Callable[[Tensor], Record], encode_prompt: Callable[[str], Record]
) -> dict[str, Any]:
    """What `cell_inputs` returns, with the `latents` of `media` and the `text.<name>` of `prompts` in their place.

    Args:
        inputs: On the device of the frozen encoders; whatever is encoded already stays as it is.
        encode_medium: Encodes one medium.
        encode_prompt: Encodes one prompt.
    """
    encoded = {name: value for name, value in inputs.items() if name not in ("media", "cached", "prompts")}
    if "media" in inputs:
        live = _latent_inputs([encode_medium(medium) for medium in inputs["media"]])
        mixed = "cached" in inputs
        encoded |= {name: _merged(inputs["cached"], inputs[name], live[name]) for name in live} if mixed else live
    if "prompts" in inputs:
        encoded |= _text_inputs([encode_prompt(prompt) for prompt in inputs["prompts"]])
    return encoded


def latents_of(inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """`(N, ...)` each, float32 or wider: the mean of each cell's clean latents and their standard deviation.

    Args:
        inputs: From `encoded_inputs`.

    Returns:
        No standard deviation where the encoder is deterministic.
    """
    std = inputs.get("latents_std")
    return widened(inputs["latents"]), None if std is None else widened(std)


def text_of(inputs: Mapping[str, Any], unconditional: Unconditional) -> dict[str, Tensor]:
    """Each cell's conditioning, `(N, ...)` by name, float32 or wider.

    Args:
        inputs: From `encoded_inputs`.
        unconditional: See `DiffusionFamily.unconditional`.
    """
    index = inputs["prompt_index"]
    named = {name.removeprefix(TEXT): values for name, values in inputs.items() if name.startswith(TEXT)}
    encoded = {name: widened(values.to(index.device)) for name, values in named.items()}
    text = _chosen(encoded, index)
    if "caption_index" not in inputs:
        return text
    dropped = (inputs["caption_index"] >= 0).nonzero().squeeze(1)
    without = unconditional(_chosen(text, dropped), _chosen(encoded, inputs["caption_index"][dropped]))
    return {name: values.index_copy(0, dropped, without[name]) for name, values in text.items()}


def _chosen(text: Conditioning, places: Tensor) -> dict[str, Tensor]:
    return {name: values[places] for name, values in text.items()}


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
        inputs |= _latent_inputs(kept)
    if media and kept:
        inputs["cached"] = torch.tensor([record is not None for record in records])
    return inputs


def _latent_inputs(records: list[Record]) -> dict[str, Tensor]:
    return {_LATENTS[name]: values for name, values in stacked(records).items()}


def _text_inputs(records: list[Record]) -> dict[str, Tensor]:
    return {f"{TEXT}{name}": values for name, values in stacked_prompts(records).items()}


def _merged(cached: Tensor, kept: Tensor, live: Tensor) -> Tensor:
    merged = live.new_empty(len(cached), *live.shape[1:])
    merged[cached], merged[~cached] = kept, live
    return merged
