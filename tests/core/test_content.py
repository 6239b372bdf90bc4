"""Equal content hashes alike, unequal does not."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from modalign.core.content import content_hash, weights_hash


@dataclass
class Cell:
    ids: list[int]
    mask: torch.Tensor


def test_same_content() -> None:
    assert content_hash(Cell([1, 2], torch.tensor([1.0]))) == content_hash(Cell([1, 2], torch.tensor([1.0])))
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([1, 2], [12]),
        ([[1], [2]], [[1, 2]]),
        (["ab", "c"], ["a", "bc"]),
        ("1", 1),
        (1, 1.0),
        (True, 1),
        (None, "None"),
        (torch.tensor([1, 2]), torch.tensor([[1, 2]])),
        (torch.tensor([1]), torch.tensor([1.0])),
        (b"a", "a"),
        ({"a": [1]}, {"a": [1], "b": []}),
    ],
)
def test_other_content(left: object, right: object) -> None:
    assert content_hash(left) != content_hash(right)


def test_unknown_types_are_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        content_hash(object())


def test_weights() -> None:
    model = nn.Linear(300, 300)
    before = weights_hash(model)
    assert weights_hash(model) == before
    with torch.no_grad():
        model.weight[123, 45] += 1e-3
    assert weights_hash(model) != before
    assert weights_hash(model.to(torch.bfloat16)) != before
