"""From hidden states to logits."""

from typing import Any

import torch
from torch import Tensor


def output_head(causal: Any) -> Any:
    """The layer that maps hidden states to the vocabulary, with its adapter where it has one."""
    return causal.get_output_embeddings()


def head_logits(causal: Any, hidden: Tensor) -> Tensor:
    """`(..., V)` logits from `(..., H)` hidden states, with what the known families do to them after the head."""
    logits: Tensor = output_head(causal)(hidden)
    config = causal.config.get_text_config()
    if (scale := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * scale
    if (scaling := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / scaling
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return logits
