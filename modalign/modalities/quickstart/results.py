"""All seeds together, of a demonstration that compares methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from modalign.modalities.quickstart.policies import IMITATION, START, Policy, coin_title
from modalign.modalities.quickstart.seeds import MeasuredT, PreferencesT, SeedFolders, SeedResult

TaskT = TypeVar("TaskT", bound=SeedFolders)

BY_PAIR = ("accuracy", "drift")


@dataclass(frozen=True)
class MethodResults(Generic[TaskT, PreferencesT, MeasuredT]):
    """What all seeds gave.

    Attributes:
        task: What they shared.
        methods: Names of the alignments.
        trained: What was trained from the start, controls among it.
        seeds: In their order.
    """

    task: TaskT
    methods: Sequence[str]
    trained: Sequence[Policy]
    seeds: Sequence[SeedResult[PreferencesT, MeasuredT]]

    @property
    def titles(self) -> list[str]:
        """The rows of the report."""
        return [START, *(policy.title for policy in self.trained)]

    def by_picture(self, policy: str, quantity: str) -> Tensor:
        """`(S, P)`: a quantity, measured of a policy on the same P pictures, or prompts and noises, for each seed."""
        return torch.stack([getattr(seed.measured[policy], quantity) for seed in self.seeds])

    def by_pair(self, policy: str, quantity: str) -> Tensor:
        """`(H,)`: one of `BY_PAIR`, over the held-out pairs of all seeds."""
        return torch.cat([getattr(seed.measured[policy], quantity) for seed in self.seeds])

    def pair_means(self, policy: str) -> dict[str, float]:
        """The mean of each of `BY_PAIR`."""
        return {quantity: self.by_pair(policy, quantity).mean().item() for quantity in BY_PAIR}

    def difference(self, policy: str, other: str, quantity: str) -> Tensor:
        """`(S, P)`: how much more of a quantity one policy has than another."""
        return self.by_picture(policy, quantity) - self.by_picture(other, quantity)

    def beside_controls(self, method: str, quantity: str) -> dict[str, Tensor]:
        """How much more of a quantity a method has than the start, its coin control and imitation, in this order."""
        return {other: self.difference(method, other, quantity) for other in (START, coin_title(method), IMITATION)}

    def models(self) -> dict[str, list[str]]:
        """The folder of every exported model, by policy and seed."""
        seeds = [result.learned.seed for result in self.seeds]
        return {
            policy.title: [str(self.task.aligned(seed, policy)) for seed in seeds]
            for policy in self.trained
            if not policy.coin
        }

    def shown(self, method: str) -> Policy:
        """The policy that the next steps are shown with: this method's, or the last where it was not among them."""
        return next((policy for policy in self.trained if policy.folder == method), self.trained[-1])
