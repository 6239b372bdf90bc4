"""A reward that needs no model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modalign import Reward


class Vowels(Reward):
    """The share of vowels among a text's letters; 0 where there are none."""

    name = "vowels"
    modalities = frozenset({"text"})

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        letters = [[letter for letter in str(text).lower() if letter.isalpha()] for text in candidates]
        shares = [sum(letter in "aeiou" for letter in word) / max(1, len(word)) for word in letters]
        return torch.tensor(shares, dtype=torch.float32)
