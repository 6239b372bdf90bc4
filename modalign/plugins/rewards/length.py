"""A reward for length: the example of a reward to copy."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.core.reward import Reward
from modalign.plugins.rewards.text_of import text_of


class Length(Reward):
    """Minus the distance of a response's length to a target, as a share of the target; 0 is perfect.

    Args:
        target: The wanted length.
        unit: What is counted.
    """

    name: ClassVar[str] = "length"
    modalities: ClassVar[frozenset[str]] = frozenset({"text", "vision_language"})

    def __init__(self, target: int, unit: Literal["words", "characters"] = "words") -> None:
        if target < 1:
            raise ConfigError(f"length: target is {target}.", f"Give at least 1 of the {unit}.")
        self.target = target
        self.unit = unit

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        texts = [text_of(candidate) for candidate in candidates]
        lengths = [len(text.split()) if self.unit == "words" else len(text) for text in texts]
        return torch.tensor([-abs(length - self.target) / self.target for length in lengths], dtype=torch.float32)
