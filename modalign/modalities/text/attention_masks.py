"""What a model is called with, and the masks for rows in which completions share their prompt."""

from typing import Any

import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.modalities.text.collation import PROMPT

FULL = "full_attention"
SLIDING = "sliding_attention"


def model_inputs(causal: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The arguments for a forward of the model over collated inputs.

    Raises:
        ConfigError: Prompts are shared, and the model has layers for which no mask can say so.
    """
    given: dict[str, Any] = {
        name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids") if name in inputs
    }
    if inputs["layout"] == "shared_prompt":
        given["attention_mask"] = shared_prompt_masks(causal, inputs["owners"], inputs["position_ids"])
    return given


def shared_prompt_masks(causal: Any, owners: Tensor, positions: Tensor) -> Tensor | dict[str, Tensor]:
    """Masks in which a token sees its prompt and its own completion up to itself, in the form that the model takes.

    Transformers uses masks of four dimensions as they are. A model whose layers differ in what they see takes one for
    each kind of layer; a sliding window counts positions, not places in the row.

    Args:
        causal: The model the masks are for.
        owners: `(R, T)`, as collated.
        positions: `(R, T)`.

    Returns:
        `(R, 1, T, T)` of queries by keys, or a dict of such by the kind of layer: bool for "sdpa", for "eager" what is
        added to the attention's logits.

    Raises:
        ConfigError: The model has layers of another kind.
    """
    config = causal.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if unknown := sorted(kinds - {FULL, SLIDING}):
        raise ConfigError(
            f"modality.layout: {type(causal).__name__} has layers of {', '.join(unknown)}, in which completions cannot "
            "share a prompt.",
            "Set modality.layout to padded.",
        )
    places = torch.arange(owners.shape[1], device=owners.device)
    keys = owners[:, None, :]
    full = ((keys == PROMPT) | (keys == owners[:, :, None])) & (places <= places[:, None])
    window = getattr(config, "sliding_window", None)
    if window is None or kinds == {FULL}:
        return _as_taken(causal, full)
    sliding = full & (positions[:, :, None] - positions[:, None, :] < window)
    if not kinds:
        return _as_taken(causal, sliding)
    return {FULL: _as_taken(causal, full), SLIDING: _as_taken(causal, sliding)}


def _as_taken(causal: Any, seen: Tensor) -> Tensor:
    mask = seen[:, None]
    if causal.config._attn_implementation != "eager":
        return mask
    dtype = causal.get_input_embeddings().weight.dtype
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
