"""The contract of a reward: a number for each response."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.core.modality import Modality


class Reward(ABC):
    """Scores responses; larger is better.

    Whoever has several responses scores them in one call: those of all prompts that were sampled together. A score may
    depend on the others of the call, as one does that is a response's part in how a set of them compares to real ones;
    what else it is measured against, such as a reference set, is an option of the reward.

    Attributes:
        name: The short name it is registered under.
        modalities: Names of the modalities whose responses it can judge.
    """

    name: ClassVar[str]
    modalities: ClassVar[frozenset[str]]

    def check(self, modality: Modality) -> None:
        """Refuse a modality whose responses it cannot judge.

        Raises:
            ConfigError: Naming both.
        """
        if modality.name not in self.modalities:
            raise ConfigError(
                f"The reward {self.name!r} judges {', '.join(sorted(self.modalities))}, not {modality.name}.",
                "Choose a reward for this modality; `modalign plugins reward` lists them.",
            )

    def check_prompts(self, prompts: Sequence[Any]) -> None:  # noqa: B027
        """Refuse prompts to which it cannot judge responses, before any is sampled; it judges all by default.

        Args:
            prompts: As `score` will be given them.

        Raises:
            UserError: Naming one.
        """

    @abstractmethod
    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N responses.

        Args:
            prompts: N contexts, as a `Comparison` holds them.
            candidates: N responses, as a `Candidate` holds them.

        Returns:
            `(N,)` float32.
        """
