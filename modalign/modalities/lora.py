"""LoRA adapters (Hu et al. 2021, arXiv:2106.09685) through peft: adding one, counting it, switching it off."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.modes import eval_mode, unwrapped

log = logging.getLogger(__name__)

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter beside a frozen model.

    Args:
        r: Rank of the two factors.
        alpha: The adapter is scaled by `alpha / r`, or by `alpha / sqrt(r)` under `use_rslora`.
        dropout: Probability of dropping an input of the adapter while training.
        target_modules: Names of the modules to adapt, one regular expression for their full names, or "all-linear" for
            every linear layer (but a language model's output head). null for the modality's own choice: all-linear for
            text, the attention's projections for diffusion models.
        modules_to_save: Names of modules to train in full beside the adapter.
        use_rslora: Scale by the square root of the rank (Kalajdzievski 2023, arXiv:2312.03732).
        init: How the first factor is drawn; the second is zero, so that training starts at the model as it was loaded.
    """

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: list[str] | str | None = None
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


def add_lora(
    model: nn.Module,
    lora: Lora,
    default: Sequence[str] | str = ALL_LINEAR,
    tied: Sequence[str] = (),
    task_type: str | None = None,
    frozen: str | None = None,
) -> nn.Module:
    """Wrap `model` into a peft model whose adapter is trainable and whose other weights are frozen.

    Args:
        model: Of transformers or diffusers.
        lora: What to add.
        default: What to adapt where `lora` names nothing; names that fit no module are left out.
        tied: Full names of modules that share their weights with one another.
        task_type: peft's name for what the model does.
        frozen: A regular expression for the full names of modules that get no adapter, whatever `lora` names.

    Raises:
        UserError: A name in `target_modules` or `modules_to_save` fits no module, or `modules_to_save` a frozen one.
    """
    from peft import LoraConfig, get_peft_model

    targets = _targets(model, lora, default)
    _check_names(model, lora, targets, tied, frozen)
    config = LoraConfig(
        task_type=task_type,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        exclude_modules=frozen,
        modules_to_save=lora.modules_to_save,
        use_rslora=lora.use_rslora,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
        ensure_weight_tying=any(_fits(name, lora.modules_to_save or []) for name in tied),
    )
    with warnings.catch_warnings():
        # peft reads an attribute that transformers has renamed, and tells that it set an option for GPT-2's layers.
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing. is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False", category=UserWarning)
        # What is excluded need not have been targeted.
        warnings.filterwarnings("ignore", message="You have passed exclude_modules=", category=UserWarning)
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


def _targets(model: nn.Module, lora: Lora, default: Sequence[str] | str) -> list[str] | str:
    """What to adapt, in peft's terms."""
    targets = lora.target_modules
    if targets is None:
        if isinstance(default, str):
            targets = default
        else:
            names = [name for name, _ in model.named_modules()]
            targets = [part for part in default if any(_fits(name, [part]) for name in names)]
    if targets == ALL_LINEAR and not hasattr(model, "get_output_embeddings"):  # peft knows it for transformers alone
        return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return targets


def _check_names(
    model: nn.Module, lora: Lora, targets: list[str] | str, tied: Sequence[str], frozen: str | None
) -> None:
    """Refuse names that fit nothing, since peft is content if one of them fits, or that cannot have an adapter."""
    if not targets:
        raise UserError("lora.target_modules is empty.", f"Name modules, or use {ALL_LINEAR!r}.")
    if isinstance(targets, str) and targets != ALL_LINEAR:
        _check_fits(model, "target_modules", targets, frozen)
    for name in [] if isinstance(targets, str) else targets:
        _check_fits(model, "target_modules", [name], frozen)
    for name in lora.modules_to_save or []:
        _check_fits(model, "modules_to_save", [name], frozen)
    shared = next((name for name in tied if _fits(name, targets)), None)
    if shared is not None:
        raise UserError(
            f"lora.target_modules: {shared!r} shares its weights with another module, which an adapter would tell "
            "apart.",
            "Leave it out, or train it in full by lora.modules_to_save.",
        )


def _check_fits(model: nn.Module, option: str, target: list[str] | str, frozen: str | None) -> None:
    try:
        found = [name for name, _ in model.named_modules() if _fits(name, target)]
    except re.error as error:
        raise UserError(f"lora.{option}: {target!r} is not a regular expression: {error}.") from error
    kept = [name for name in found if frozen and re.fullmatch(frozen, name)]
    # A module that is saved in full is trained in full, wherever its name fits.
    if kept and (len(kept) == len(found) or option == "modules_to_save"):
        raise UserError(
            f"lora.{option}: {target if isinstance(target, str) else target[0]!r} fits {kept[0]!r}, which is frozen.",
            "Name other modules, or train that part too (modality.train_vision).",
        )
    if found:
        return
    if isinstance(target, str):
        raise UserError(
            f"lora.{option}: the expression {target!r} fits the full name of no module.",
            f"{_module_names(model, target)}. A name that is no expression goes into a list.",
        )
    raise UserError(
        f"lora.{option}: no module of {type(model).__name__} is called {target[0]!r}.",
        f"{_module_names(model, target[0])}.",
    )


def _fits(name: str, target: list[str] | str) -> bool:
    """peft's own rule: a string is an expression for the whole name, a list holds last parts of names."""
    if isinstance(target, str):
        return re.fullmatch(target, name) is not None
    return any(name == part or name.endswith(f".{part}") for part in target)


def _module_names(model: nn.Module, name: str) -> str:
    """The last parts of the names of the layers that hold weights, those nearest to `name` first."""
    layers = {full.split(".")[-1] for full, module in model.named_modules() if hasattr(module, "weight")}
    return did_you_mean(name.split(".")[-1], layers).capitalize()


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """A context in which a peft model computes as if it had no adapter and no dropout, and is then as it was."""
    trainable = [(parameter, parameter.requires_grad) for parameter in unwrapped(model).parameters()]
    try:
        with eval_mode(model), model.disable_adapter():
            yield
    finally:
        # peft makes every parameter of the active adapter trainable when it switches the adapter on again.
        for parameter, requires_grad in trainable:
            parameter.requires_grad_(requires_grad)
