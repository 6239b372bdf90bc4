"""What is checked once for every model before its log-probabilities are trusted.

Both checks compare two ways of computing the same thing on a few tokens, so that they hold for architectures that
nobody here has heard of.
"""

import logging
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError
from modalign.modalities.text.modes import eval_mode
from modalign.modalities.text.output_head import head_logits, output_head

log = logging.getLogger(__name__)

TOKENS = 6
LARGE_LOGIT = 50.0

_known_heads: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()
_packing_models: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()


def head_is_known(causal: nn.Module) -> bool:
    """Whether `head_logits` of the base model's hidden states are the model's own logits.

    They are not where an architecture scales, caps or shifts its logits in a way we do not know. Checked at the first
    call for a model, and logged where they are not.
    """
    if causal not in _known_heads:
        with eval_mode(causal), torch.no_grad():
            _known_heads[causal] = _head_agrees(causal)
        if not _known_heads[causal]:
            log.warning(
                "The logits of %s are not a plain function of its hidden states: log-probabilities are computed from "
                "its full forward, which needs more memory",
                type(causal).__name__,
            )
    return _known_heads[causal]


def check_packing(causal: nn.Module) -> None:
    """Refuse packed batches for a model in which packed sequences see each other.

    Raises:
        ConfigError: They do, or the model takes no positions.
    """
    if causal not in _packing_models:
        with eval_mode(causal), torch.no_grad():
            _packing_models[causal] = _packing_agrees(causal)
    if not _packing_models[causal]:
        raise ConfigError(
            f"modality.packing: packed sequences see each other in {type(causal).__name__}.",
            "Set modality.packing to false, or another modality.attn_implementation.",
        )


def _head_agrees(causal: Any) -> bool:
    head = output_head(causal)
    if head is None or causal.base_model is causal:
        return False
    ids = _some_ids(causal)
    # Random or small weights give logits so small that a cap or a shift would hardly show.
    amplifier = head.register_forward_hook(lambda _module, _inputs, output: output * (LARGE_LOGIT / output.abs().max()))
    try:
        own = causal(input_ids=ids, use_cache=False).logits
        ours = head_logits(causal, causal.base_model(input_ids=ids, use_cache=False)[0])
    finally:
        amplifier.remove()
    return own.shape == ours.shape and _close(ours, own)


def _packing_agrees(causal: Any) -> bool:
    ids = _some_ids(causal)
    positions = torch.arange(TOKENS // 2, device=ids.device).repeat(2)[None]
    try:
        packed = causal(input_ids=ids, position_ids=positions, use_cache=False).logits
    except TypeError as error:
        log.info("%s takes no position_ids: %s", type(causal).__name__, error)
        return False
    alone = causal(input_ids=ids[:, TOKENS // 2 :], use_cache=False).logits
    return _close(packed[:, TOKENS // 2 :], alone)


def _some_ids(causal: Any) -> Tensor:
    """`(1, TOKENS)` different tokens."""
    device = causal.get_input_embeddings().weight.device
    vocabulary: int = causal.config.get_text_config().vocab_size
    return torch.arange(1, TOKENS + 1, device=device)[None] % vocabulary


def _close(values: Tensor, expected: Tensor) -> bool:
    """Equal up to the rounding of the type the model computes in."""
    tolerance = 1e-4 if expected.dtype in (torch.float32, torch.float64) else 3e-2
    return bool((values - expected).abs().max() <= tolerance * expected.abs().max())
