"""Best of n: the strongest simple baseline of search at generation time."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from modalign.core.errors import ConfigError
from modalign.core.modality import Modality
from modalign.core.reward import Reward
from modalign.core.sampler import Sampler, SamplingOptions


class BestOfN(Sampler):
    """Draws n responses a prompt and keeps the one the reward likes best, the first among equals.

    Args:
        reward: The judge.
        n: How many are drawn.
        options: Passed to the modality's `sample`.
    """

    name: ClassVar[str] = "best_of_n"

    def __init__(self, reward: Reward, n: int = 4, options: SamplingOptions | None = None) -> None:
        if n < 1:
            raise ConfigError(f"best_of_n: n is {n}.", "Draw at least 1 response.")
        self.reward = reward
        self.n = n
        self.options = options or {}

    def check(self, modality: Modality) -> None:
        modality.check_sampling(self.options)
        self.reward.check(modality)

    def sample(self, modality: Modality, model: nn.Module, prompts: Sequence[Any], seed: int = 0) -> list[Any]:
        drawn = modality.sample(model, prompts, n=self.n, seed=seed, **self.options)
        flat_prompts = [prompt for prompt in prompts for _ in range(self.n)]
        flat = [response for responses in drawn for response in responses]
        scores = self.reward.score(flat_prompts, flat).view(len(drawn), self.n)
        return [responses[best] for responses, best in zip(drawn, scores.argmax(1).tolist(), strict=True)]
