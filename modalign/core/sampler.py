"""The contract of a sampler: search at generation time over a model and, where it wants one, a reward."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from modalign.core.modality import Modality

SamplingOptions = dict[str, int | float | bool | str | None]
"""What a modality's `sample` takes by name; int stands before float, so that a config's 48 stays a count."""


class Sampler(ABC):
    """Chooses one response a prompt.

    Attributes:
        name: The short name it is registered under.
    """

    name: ClassVar[str]

    def check(self, modality: Modality) -> None:  # noqa: B027
        """Refuse a modality or options that `sample` would refuse, before anything is loaded.

        Raises:
            UserError: The modality does not sample, an option is not its own, or the reward judges others.
        """

    @abstractmethod
    def sample(self, modality: Modality, model: nn.Module, prompts: Sequence[Any], seed: int = 0) -> list[Any]:
        """One response for each prompt, the same for the same seed."""
