"""Equal content hashes alike, unequal does not."""

from dataclasses import dataclass

import pytest
import torch
from PIL import Image
from torch import nn

from modalign.core.content import content_hash, short_hash, weights_hash
from modalign.core.media import Media


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


def test_chats_with_images_are_told_apart_by_their_images() -> None:
    def chat(image: object) -> list[object]:
        return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "What?"}]}]

    red, blue = (Image.new("RGB", (2, 2), color) for color in ("red", "blue"))
    images = [Media("a.png"), Media("b.png"), Media(data=b"a"), Media(data=b"b"), red, blue, red.resize((1, 4))]
    keys = [short_hash(chat(image)) for image in images]
    assert len(set(keys)) == len(keys)
    assert keys == [short_hash(chat(image)) for image in [*images[:4], red.copy(), *images[5:]]]


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
