"""Plain sampling."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from modalign.core.modality import Modality
from modalign.core.sampler import Sampler, SamplingOptions


class Single(Sampler):
    """One response a prompt.

    Args:
        options: Passed to the modality's `sample` (for text: `max_new_tokens`, `temperature`...).
    """

    name: ClassVar[str] = "single"

    def __init__(self, options: SamplingOptions | None = None) -> None:
        self.options = options or {}

    def check(self, modality: Modality) -> None:
        modality.check_sampling(self.options)

    def sample(self, modality: Modality, model: nn.Module, prompts: Sequence[Any], seed: int = 0) -> list[Any]:
        return [responses[0] for responses in modality.sample(model, prompts, n=1, seed=seed, **self.options)]
