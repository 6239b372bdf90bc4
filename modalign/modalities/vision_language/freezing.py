"""Telling what sees or hears in a model from its language model, so that it can stay as it is."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from modalign.core.errors import UserError

TRAIN_VISION = "train_vision"


def tower_modules(model: Any, option: str = TRAIN_VISION) -> list[str]:
    """Full names of the largest modules that are no part of the language model: the tower and its projector.

    Args:
        model: As loaded.
        option: The modality's option that trains them too, for messages.

    Raises:
        UserError: They cannot be told apart from the language model.
    """
    language = set(_language_modules(model, option))
    return [name for name, module in _outside(model, "", language) if any(True for _ in module.parameters())]


def freeze(model: Any, names: Sequence[str]) -> None:
    """Freeze everything but the language model.

    Args:
        model: As loaded.
        names: Its `tower_modules`. In evaluation mode, statistics of a batch, which some towers keep, do not change
            them; weights beside them, such as a learned line break between rows of patches, are frozen too.
    """
    language = {id(weight) for module in _language_modules(model) for weight in module.parameters()}
    for weight in model.parameters():
        if id(weight) not in language:
            weight.requires_grad_(False)
    for name in names:
        model.get_submodule(name).eval()


def pattern(names: Sequence[str]) -> str:
    """A regular expression for the full names of modules and of all within them."""
    return rf"(?:{'|'.join(map(re.escape, names))})(?:\..*)?"


def told(policy: nn.Module, names: Sequence[str], option: str = TRAIN_VISION) -> str:
    """What is frozen and how much trains, in a line."""
    trained = sum(weight.numel() for weight in policy.parameters() if weight.requires_grad)
    whole = sum(weight.numel() for weight in policy.parameters())
    return f"{trained:,} of {whole:,} weights train; frozen without modality.{option}: {', '.join(names)}"


def _language_modules(model: Any, option: str = TRAIN_VISION) -> Iterator[nn.Module]:
    """The decoder with all in it, the embeddings and the output head."""
    decoder = model.get_decoder()
    if decoder is model or decoder is model.base_model:
        raise UserError(
            f"It cannot be told which part of {type(model).__name__} sees or hears and which writes, so that it could "
            "be frozen.",
            f"Set modality.{option} to true, which trains both.",
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
