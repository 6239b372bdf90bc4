"""What is checked once for every model before its log-probabilities are trusted.

Both checks compare two ways of computing the same thing, so that they hold for architectures that nobody here has
heard of.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError
from modalign.modalities.modes import eval_mode
from modalign.modalities.text.attention_masks import model_inputs
from modalign.modalities.text.collation import Layout, collate
from modalign.modalities.text.encoding import TextCell
from modalign.modalities.text.output_head import head_logits, output_head

log = logging.getLogger(__name__)

TOKENS = 6
LARGE_LOGIT = 50.0
LENGTH_STEP = 256
SHORT_WINDOW = 2
NOT_TAKEN = (TypeError, ValueError, RuntimeError, AttributeError, LookupError)
"""What models raise that do not take positions or masks of four dimensions, or not for so many tokens."""

_known_heads: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()
_checked_widths: "WeakKeyDictionary[nn.Module, dict[Layout, int]]" = WeakKeyDictionary()


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


def check_layout(causal: nn.Module, inputs: dict[str, Any]) -> None:
    """Refuse inputs in a layout in which the model gives other values than in the padded one.

    Checked at the first call for a model, and again for wider rows: some models hold buffers for so many tokens, or
    have layers that see so many.

    Args:
        causal: The model.
        inputs: As collated.

    Raises:
        ConfigError: Sequences of a row see each other, or the model does not take what tells them apart.
    """
    layout, width = inputs["layout"], inputs["input_ids"].shape[1]
    widths = _checked_widths.setdefault(causal, {})
    if layout == "padded" or width <= widths.get(layout, 0):
        return
    length = _length_to_check(causal, inputs["longest"])
    sequences = -(-width // length)
    with eval_mode(causal), torch.no_grad(), _short_window(causal):
        reason = _disagreement(causal, layout, length, sequences)
    if reason is not None:
        raise ConfigError(
            f"modality.layout: {type(causal).__name__} cannot run {layout} rows: {reason}",
            "Set modality.layout to padded, or another modality.attn_implementation.",
        )
    widths[layout] = sequences * length


def _head_agrees(causal: Any) -> bool:
    head = output_head(causal)
    if head is None or causal.base_model is causal:
        return False
    ids = _some_ids(causal, TOKENS)[None].to(head.weight.device)
    # Random or small weights give logits so small that a cap or a shift would hardly show.
    amplifier = head.register_forward_hook(lambda _module, _inputs, output: output * (LARGE_LOGIT / output.abs().max()))
    try:
        own = causal(input_ids=ids, use_cache=False).logits
        ours = head_logits(causal, causal.base_model(input_ids=ids, use_cache=False)[0])
    finally:
        amplifier.remove()
    return own.shape == ours.shape and nearly_equal(ours, own)


def _length_to_check(causal: Any, longest: int) -> int:
    """The length of a sequence, rounded up so that not every batch with a longer one is checked again."""
    rounded = -(-longest // LENGTH_STEP) * LENGTH_STEP
    positions = getattr(causal.config.get_text_config(), "max_position_embeddings", None)
    return rounded if positions is None else max(longest, min(rounded, positions))


def _disagreement(causal: Any, layout: Layout, length: int, sequences: int) -> str | None:
    """Why a short cell after so many others has other logits than it has alone; None where it has not."""
    ids = _some_ids(causal, length + 2)
    prompt = ids[:2]
    cells = [TextCell(prompt, ids[2:length])] * sequences + [TextCell(prompt, ids[length:])]
    try:
        found = _logits(causal, cells, layout)
    except NOT_TAKEN as error:
        return f"{type(error).__name__}: {error}"
    alone = _logits(causal, cells[-1:], "padded")
    return None if nearly_equal(found, alone) else "its sequences see each other, or too little of their own."


def _logits(causal: Any, cells: list[TextCell], layout: Layout) -> Tensor:
    """`(C, V)` logits of the scored tokens of the last cell."""
    device = causal.get_input_embeddings().weight.device
    inputs = {
        name: value.to(device) if isinstance(value, Tensor) else value for name, value in collate(cells, layout).items()
    }
    arguments = {**model_inputs(causal, inputs), "use_cache": False}
    predictors = inputs["predictors"][-len(cells[-1].completion) :]
    if not head_is_known(causal):
        logits: Tensor = causal(**arguments).logits
        return logits.flatten(0, 1)[predictors]
    return head_logits(causal, causal.base_model(**arguments)[0].flatten(0, 1)[predictors])


@contextmanager
def _short_window(causal: Any) -> Iterator[None]:
    """A context in which layers with a sliding window see so little that a few tokens tell whether a mask is right."""
    config = causal.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    try:
        if window is not None:
            config.sliding_window = SHORT_WINDOW
        yield
    finally:
        if window is not None:
            config.sliding_window = window


def _some_ids(causal: Any, count: int) -> Tensor:
    """`(count,)` tokens, different as long as the vocabulary lasts."""
    vocabulary: int = causal.config.get_text_config().vocab_size
    return torch.arange(1, count + 1) % vocabulary


def nearly_equal(values: Tensor, expected: Tensor) -> bool:
    """Equal up to the rounding of the precision that the model computes in."""
    exact = (
        expected.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(expected.device.type)
        and torch.get_float32_matmul_precision() == "highest"
    )
    return bool((values - expected).abs().max() <= (1e-4 if exact else 3e-2) * expected.abs().max())
