"""The options by which tokens are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from modalign.core.errors import UserError, did_you_mean


@dataclass(frozen=True)
class SamplingOptions:
    """How responses are drawn.

    Args:
        max_new_tokens: The most tokens a response has.
        temperature: Divides the logits; 0 takes the likeliest token.
        top_p: Draw from the smallest set of tokens whose probabilities sum to this (Holtzman et al. 2020).
        top_k: Draw from so many of the likeliest tokens.
        batch_size: How many responses are generated at once.
    """

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float | None = None
    top_k: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        counts = ("max_new_tokens", "top_k", "batch_size")
        for name in counts:
            if not isinstance(getattr(self, name), int | None):
                raise UserError(f"Sampling: {name} is {getattr(self, name)!r}.", "Give a whole number.")
        problems = {
            "max_new_tokens must be at least 1": self.max_new_tokens < 1,
            "temperature must not be negative": self.temperature < 0,
            "top_p must be in (0, 1]": self.top_p is not None and not 0 < self.top_p <= 1,
            "top_k must be at least 1": self.top_k is not None and self.top_k < 1,
            "batch_size must be at least 1": self.batch_size < 1,
        }
        found = [problem for problem, holds in problems.items() if holds]
        if found:
            raise UserError(f"Sampling: {'; '.join(found)}.", f"The options were {self}.")


def sampling_options(options: Mapping[str, Any]) -> SamplingOptions:
    """The options by name.

    Raises:
        UserError: There is no such option, or one is out of its range.
    """
    known = [option.name for option in fields(SamplingOptions)]
    for name in options:
        if name not in known:
            raise UserError(f"Sampling has no option {name!r}.", did_you_mean(name, known).capitalize())
    return SamplingOptions(**options)
