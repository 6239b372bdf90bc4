"""The contract of a reward: a number for each response."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor


class Reward(ABC):
    """Scores responses; larger is better.

    Attributes:
        name: The short name it is registered under.
        modalities: Names of the modalities whose responses it can judge.
    """

    name: ClassVar[str]
    modalities: ClassVar[frozenset[str]]

    @abstractmethod
    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N responses.

        Args:
            prompts: N contexts, as a `Comparison` holds them.
            candidates: N responses, as a `Candidate` holds them.

        Returns:
            `(N,)` float32.
        """
