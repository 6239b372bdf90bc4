"""LoRA adapters (Hu et al. 2021, arXiv:2106.09685) through peft: adding one, counting it, switching it off."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.text.modes import causal_lm, eval_mode

log = logging.getLogger(__name__)

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter beside a frozen model.

    Args:
        r: Rank of the two factors.
        alpha: The adapter is scaled by `alpha / r`, or by `alpha / sqrt(r)` under `use_rslora`.
        dropout: Probability of dropping an input of the adapter while training; needs `disable_dropout: false`.
        target_modules: Names of the modules to adapt, one regular expression for their full names, or "all-linear" for
            every linear layer but the output head.
        modules_to_save: Names of modules to train in full beside the adapter.
        use_rslora: Scale by the square root of the rank (Kalajdzievski 2023, arXiv:2312.03732).
        init: How the first factor is drawn; the second is zero, so that training starts at the model as it was loaded.
    """

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: list[str] | str = ALL_LINEAR
    modules_to_save: list[str] | None = None
    use_rslora: bool = False
    init: Literal["kaiming", "gaussian"] = "kaiming"

    def __post_init__(self) -> None:
        if self.r < 1:
            raise UserError(f"lora.r is {self.r}; a rank is at least 1.", "Common values are 8 to 64.")
        if self.alpha <= 0:
            raise UserError(f"lora.alpha is {self.alpha}; it must be positive.", "A common value is twice the rank.")
        if not 0 <= self.dropout < 1:
            raise UserError(f"lora.dropout is {self.dropout}; it must be in [0, 1).", "Use 0.0 for none.")


def add_lora(model: nn.Module, lora: Lora) -> nn.Module:
    """Wrap `model` into a peft model whose adapter is trainable and whose other weights are frozen.

    Raises:
        UserError: A name in `target_modules` or `modules_to_save` fits no module.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    _check_names(model, lora)
    targets = lora.target_modules
    named = set([] if isinstance(targets, str) else targets) | set(lora.modules_to_save or [])
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        modules_to_save=lora.modules_to_save,
        use_rslora=lora.use_rslora,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
        ensure_weight_tying=_ties_any(model, named),
    )
    with warnings.catch_warnings():
        # peft reads an attribute that transformers has renamed.
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing. is deprecated", category=FutureWarning)
        try:
            adapted = get_peft_model(model, config)
        except ValueError as error:
            raise UserError(
                f"lora.target_modules: {targets!r} cannot be adapted: {error}",
                f"{_module_names(model, '')}; or use {ALL_LINEAR!r}.",
            ) from error
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    log.info("LoRA adapts %d modules with %d trainable parameters", len(adapted.targeted_module_names), trainable)
    return adapted  # type: ignore[no-any-return]


def _check_names(model: nn.Module, lora: Lora) -> None:
    """Refuse names that fit nothing: peft accepts a list as long as one of its names fits."""
    names = [name for name, _ in model.named_modules() if name]
    wanted = [("modules_to_save", name) for name in lora.modules_to_save or []]
    if isinstance(lora.target_modules, list):
        wanted += [("target_modules", name) for name in lora.target_modules]
        if not lora.target_modules:
            raise UserError("lora.target_modules is empty.", f"Name modules, or use {ALL_LINEAR!r}.")
    elif lora.target_modules != ALL_LINEAR and not _matches_regex(lora.target_modules, names):
        raise UserError(
            f"lora.target_modules: the expression {lora.target_modules!r} fits the full name of no module.",
            f"{_module_names(model, lora.target_modules)}. A single name goes into a list.",
        )
    for option, wanted_name in wanted:
        if not any(name == wanted_name or name.endswith(f".{wanted_name}") for name in names):
            raise UserError(
                f"lora.{option}: no module of {type(model).__name__} is called {wanted_name!r}.",
                f"{_module_names(model, wanted_name)}.",
            )


def _matches_regex(pattern: str, names: list[str]) -> bool:
    try:
        return any(re.fullmatch(pattern, name) for name in names)
    except re.error as error:
        raise UserError(f"lora.target_modules: {pattern!r} is not a regular expression: {error}.") from error


def _module_names(model: nn.Module, name: str) -> str:
    """The last parts of the names of the layers that hold weights, those nearest to `name` first."""
    layers = {full.split(".")[-1] for full, module in model.named_modules() if hasattr(module, "weight")}
    return did_you_mean(name.split(".")[-1], layers).capitalize()


def _ties_any(model: Any, names: set[str]) -> bool:
    """Whether one of these modules shares its weights with another, and so must be adapted together with it."""
    head = model.get_output_embeddings()
    if head is None or head.weight is not model.get_input_embeddings().weight:
        return False
    tied = [name for name, module in model.named_modules() if module in (head, model.get_input_embeddings())]
    return any(full == name or full.endswith(f".{name}") for full in tied for name in names)


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """A context in which a peft model computes as if it had no adapter and no dropout, and is then as it was."""
    trainable = [(parameter, parameter.requires_grad) for parameter in causal_lm(model).parameters()]
    with eval_mode(model), model.disable_adapter():
        yield
    # peft makes every parameter of the active adapter trainable when it switches the adapter on again.
    for parameter, requires_grad in trainable:
        parameter.requires_grad_(requires_grad)
