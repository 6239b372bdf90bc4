"""Image features as transformers' towers return them: cut apart by set of images, and laid out again for rows.

Features are a dict of a tower's outputs by name, each a tensor whose first dimension counts images, tiles or tokens, or
a tuple of such tensors, or a tuple of either for several layers (`deepstack_features`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Features = Mapping[str, Any]

POOLED = "pooler_output"
DEEPSTACK = "deepstack_features"
NAMES = (POOLED, DEEPSTACK)


def features_of(output: Any) -> Features:
    """What the language model reads of a tower's output.

    Raises:
        TypeError: It holds something else than features.
    """
    found = {name: value for name in NAMES if (value := getattr(output, name, None)) is not None}
    return {name: _as_tuples(value) for name, value in found.items()}


def joined_features(parts: Sequence[Features]) -> Features:
    """Those of several sets of images, one after another."""
    return {
        name: tuple(map(_joined, zip(*(part[name] for part in parts), strict=True)))
        if name == DEEPSTACK
        else _joined([part[name] for part in parts])
        for name in parts[0]
    }


def cut_features(features: Features, tokens: Sequence[int]) -> list[Features] | None:
    """Those of each set of images, from the features of all of them.

    Args:
        features: Of several sets, one after another.
        tokens: How many tokens each set stands for.

    Returns:
        None where the features do not come in pieces of so many tokens.
    """
    if DEEPSTACK in features:
        layers = [_cut(layer, tokens) for layer in features[DEEPSTACK]]
        pooled = _cut(features[POOLED], tokens)
        if pooled is None or any(layer is None for layer in layers):
            return None
        stacked = zip(*(layer for layer in layers if layer is not None), strict=True)
        return [{POOLED: own, DEEPSTACK: deep} for own, deep in zip(pooled, stacked, strict=True)]
    pooled = _cut(features[POOLED], tokens)
    return None if pooled is None else [{POOLED: own} for own in pooled]


def leaves(features: Any) -> list[Tensor]:
    """Every tensor of some features."""
    if isinstance(features, Tensor):
        return [features]
    values = features.values() if isinstance(features, Mapping) else features
    return [leaf for value in values for leaf in leaves(value)]


def _as_tuples(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_as_tuples, value))
    raise TypeError(f"image features hold a {type(value).__name__}")


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], tuple):
        return tuple(tensor for part in parts for tensor in part)
    return torch.cat(list(parts))


def _cut(value: Any, tokens: Sequence[int]) -> list[Any] | None:
    """Consecutive pieces of a tensor or tuple of tensors, of so many tokens each; None where that cannot be."""
    pieces = list(value) if isinstance(value, tuple) else list(value.split(1))
    lengths = [piece.shape[:-1].numel() for piece in pieces]
    cut, start = [], 0
    for wanted in tokens:
        end, length = start, 0
        while end < len(pieces) and length < wanted:
            length += lengths[end]
            end += 1
        if length != wanted:
            return None
        cut.append(tuple(pieces[start:end]) if isinstance(value, tuple) else value[start:end])
        start = end
    return cut if start == len(pieces) else None
