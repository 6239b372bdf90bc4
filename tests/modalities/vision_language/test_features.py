"""Cutting a tower's features apart by set of images, and joining them again."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from modalign.modalities.vision_language.features import cut_features, features_of, joined_features, leaves

TOKENS = [3, 5, 2]


def equal(one: Any, other: Any) -> bool:
    return all(map(torch.equal, leaves(one), leaves(other))) and len(leaves(one)) == len(leaves(other))


def features(kind: str) -> Any:
    """Features of ten tokens: of four images in a list, of ten in a tensor, or with two more layers of each kind."""
    images = list(torch.randn(10, 4).split([3, 1, 4, 2]))
    return features_of(
        {
            "list": SimpleNamespace(pooler_output=images, last_hidden_state=torch.randn(1)),
            "tensor": SimpleNamespace(pooler_output=torch.randn(10, 4)),
            "deep lists": SimpleNamespace(pooler_output=images, deepstack_features=[tuple(images)] * 2),
            "deep tensors": SimpleNamespace(pooler_output=images, deepstack_features=list(torch.randn(2, 10, 4))),
        }[kind]
    )


@pytest.mark.parametrize("kind", ["list", "tensor", "deep lists", "deep tensors"])
def test_what_was_cut_apart_is_joined_to_the_whole(kind: str) -> None:
    whole = features(kind)
    parts = cut_features(whole, TOKENS)
    assert parts is not None
    assert [sum(leaf.shape[0] for leaf in leaves(part["pooler_output"])) for part in parts] == TOKENS
    assert equal(joined_features(parts), whole)
    assert equal(joined_features(parts[1:]), joined_features(parts[:0:-1][::-1]))


def test_tiles_of_several_tokens_each() -> None:
    whole = features_of(SimpleNamespace(pooler_output=torch.randn(3, 4, 8)))
    first, second = cut_features(whole, [8, 4])
    assert torch.equal(first["pooler_output"], whole["pooler_output"][:2])
    assert torch.equal(second["pooler_output"], whole["pooler_output"][2:])


@pytest.mark.parametrize("tokens", [[2, 8], [3, 5], [3, 5, 3], [0, 0]])
@pytest.mark.parametrize("kind", ["list", "deep lists"])
def test_pieces_of_other_sizes_are_not_cut(kind: str, tokens: list[int]) -> None:
    assert cut_features(features(kind), tokens) is None


def test_other_things_than_features() -> None:
    with pytest.raises(TypeError, match="int"):
        features_of(SimpleNamespace(pooler_output=torch.ones(1), deepstack_features=[(3, torch.ones(1))]))
