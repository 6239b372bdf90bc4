"""Putting a model into evaluation mode for a while, and finding it inside its adapter's wrapper."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """A context without dropout, after which every module is in the mode it was in.

    Mode by mode, because a model may hold modules that are in eval mode on purpose.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def unwrapped(model: Any) -> Any:
    """The transformers or diffusers model inside a policy: the policy itself, or what a peft model wraps.

    An adapter is built into the wrapped model's layers, so calling the wrapped model runs the adapter too.
    """
    return model.get_base_model() if is_peft_model(model) else model


def is_peft_model(model: nn.Module) -> bool:
    """Whether a policy is a `peft.PeftModel`, without importing peft, which takes seconds."""
    return is_of_peft(model)


def is_of_peft(module: nn.Module) -> bool:
    """Whether a module's class is one of peft's: a model with an adapter, or a layer of one."""
    return any(cls.__module__.split(".")[0] == "peft" for cls in type(module).__mro__)


def weights_dtype(model: nn.Module) -> torch.dtype:
    """The type of a model's own weights; those of an adapter in it may be wider."""
    return next(p.dtype for name, p in model.named_parameters() if p.is_floating_point() and "lora_" not in name)
