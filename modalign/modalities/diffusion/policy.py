"""Making a loaded denoiser trainable: gradient checkpointing, an adapter, training mode."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from modalign.core.errors import UserError
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.lora import Lora, add_lora


def trainable_policy(
    denoiser: Any,
    lora: Lora | None,
    default_targets: Sequence[str],
    gradient_checkpointing: bool,
    checkpoint: Callable[[Any], None] = DiffusionFamily.checkpoint,
) -> nn.Module:
    """All of a denoiser, or an adapter on it, ready to train and in training mode.

    Its own dropout, which few have, is switched off, so that policy and reference are the same network at the start.

    Args:
        denoiser: Of diffusers.
        lora: The adapter; None trains all weights.
        default_targets: What it adapts where it names nothing.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
        checkpoint: Has a denoiser do that; see `DiffusionFamily.checkpoint`.

    Raises:
        UserError: The denoiser cannot checkpoint its activations, or the adapter fits no module.
    """
    if gradient_checkpointing:
        if not denoiser._supports_gradient_checkpointing:
            raise UserError(
                f"{type(denoiser).__name__} does not support gradient checkpointing.",
                "Set modality.gradient_checkpointing to false.",
            )
        checkpoint(denoiser)
    for module in denoiser.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    policy: nn.Module = denoiser if lora is None else add_lora(denoiser, lora, default_targets)
    return policy.train()
