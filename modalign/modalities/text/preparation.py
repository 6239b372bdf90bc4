"""Making a loaded model trainable: gradient checkpointing, quantised weights, an adapter, training mode."""

from typing import Any

from torch import nn

from modalign.core.errors import UserError
from modalign.modalities.lora import Lora, add_lora


def prepare_for_training(
    model: Any, lora: Lora | None, gradient_checkpointing: bool, frozen: str | None = None
) -> nn.Module:
    """The policy: all of `model` that is not frozen, or an adapter on it, ready to train and in training mode.

    Args:
        model: As loaded.
        lora: The adapter; None trains the weights themselves.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
        frozen: A regular expression for the full names of modules that get no adapter.

    Raises:
        UserError: The model cannot checkpoint its activations, or the adapter fits no module.
    """
    if getattr(model, "is_quantized", False):
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if gradient_checkpointing:
        checkpoint_activations(model)
    if lora is None:
        return model.train()  # type: ignore[no-any-return]
    return add_lora(model, lora, tied=_tied_modules(model), task_type="CAUSAL_LM", frozen=frozen).train()


def checkpoint_activations(model: Any) -> None:
    """Have a model compute its activations again in the backward pass.

    Also makes the embeddings' output require gradient, without which a frozen model has nothing to recompute for.

    Raises:
        UserError: The model cannot do that.
    """
    if not model.supports_gradient_checkpointing:
        raise UserError(
            f"{type(model).__name__} does not support gradient checkpointing.",
            "Set modality.gradient_checkpointing to false.",
        )
    model.activation_checkpointing_enable({"use_reentrant": False})


def _tied_modules(model: Any) -> list[str]:
    """Full names of the embeddings and the output head, where they share their weights."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is not embeddings.weight:
        return []
    return [name for name, module in model.named_modules() if module is head or module is embeddings]
