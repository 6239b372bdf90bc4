"""Telling a model's vision part from its language model, so that it can stay as it is."""

import logging
import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from modalign.core.errors import UserError

log = logging.getLogger(__name__)


def vision_modules(model: Any) -> list[str]:
    """Full names of the largest modules that are no part of the language model: the vision tower and its projector.

    Raises:
        UserError: They cannot be told apart from the language model.
    """
    language = set(_language_modules(model))
    return [name for name, module in _outside(model, "", language) if any(True for _ in module.parameters())]


def freeze_vision(model: Any) -> str:
    """Freeze everything but the language model, and put it into evaluation mode.

    Returns:
        A regular expression for the full names of the frozen modules.

    Raises:
        UserError: See `vision_modules`.
    """
    names = vision_modules(model)
    language = {id(weight) for module in _language_modules(model) for weight in module.parameters()}
    frozen = [weight for weight in model.parameters() if id(weight) not in language]
    for weight in frozen:
        weight.requires_grad_(False)
    rest = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    count = sum(weight.numel() for weight in frozen)
    log.info("Frozen: %s with %d weights; %d are left to train", ", ".join(names), count, rest)
    return rf"(?:{'|'.join(map(re.escape, names))})(?:\..*)?"


def set_vision_eval(model: Any) -> None:
    """Keep the frozen part in evaluation mode while the rest trains: statistics of a batch must not change it."""
    for name in vision_modules(model):
        model.get_submodule(name).eval()


def _language_modules(model: Any) -> Iterator[nn.Module]:
    """The decoder with all in it, the embeddings and the output head."""
    decoder = model.get_decoder()
    if decoder is model or decoder is model.base_model:
        raise UserError(
            f"It cannot be told which part of {type(model).__name__} sees and which writes, so that the former could "
            "be frozen.",
            "Set modality.train_vision to true, which trains both.",
        )
    for part in (decoder, model.get_input_embeddings(), model.get_output_embeddings()):
        if part is not None:
            yield from part.modules()


def _outside(module: nn.Module, name: str, language: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """The largest modules below one that have nothing in common with the language model."""
    for child_name, child in module.named_children():
        full = f"{name}.{child_name}".lstrip(".")
        if child in language:
            continue
        if language.isdisjoint(child.modules()):
            yield full, child
        else:
            yield from _outside(child, full, language)
