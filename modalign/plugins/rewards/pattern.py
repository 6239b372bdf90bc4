"""A reward for a regular expression."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.core.reward import Reward
from modalign.plugins.rewards.text_of import text_of


class Pattern(Reward):
    """1 for a response in which the expression is found, else 0.

    Args:
        expression: A Python regular expression, searched for anywhere in the response.
        wanted: False turns the reward round: 1 where the expression is not found.
        ignore_case: Whether upper and lower case are the same.
    """

    name: ClassVar[str] = "pattern"
    modalities: ClassVar[frozenset[str]] = frozenset({"text", "vision_language"})

    def __init__(self, expression: str, wanted: bool = True, ignore_case: bool = False) -> None:
        try:
            self._compiled = re.compile(expression, re.IGNORECASE if ignore_case else 0)
        except re.error as error:
            raise ConfigError(
                f"pattern: {expression!r} is no regular expression: {error}.", "Mend it, or escape its special signs."
            ) from error
        self.wanted = wanted

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        found = [self._compiled.search(text_of(candidate)) is not None for candidate in candidates]
        return torch.tensor([float(there == self.wanted) for there in found])
