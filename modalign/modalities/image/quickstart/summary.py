"""All seeds together: differences between policies, and what they allow one to say."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from modalign.modalities.image.quickstart.experiment import Learned, Task
from modalign.modalities.image.quickstart.measurement import Measured
from modalign.modalities.image.quickstart.plan import IMITATION, START, TITLES, Policy, coin_title
from modalign.modalities.quickstart.conclusions import comparison, verdict
from modalign.modalities.quickstart.estimates import Estimate

BY_PICTURE = ("reward", "wins", "fidelity", "contrast")
BY_PAIR = ("accuracy", "drift")
PLACES = 3


@dataclass(frozen=True)
class SeedResult:
    """What one seed gave.

    Attributes:
        learned: The start and its ranked pictures.
        measured: A policy's measurements, by its title.
    """

    learned: Learned
    measured: dict[str, Measured]


@dataclass(frozen=True)
class Results:
    """What all seeds gave.

    Attributes:
        task: What they shared.
        methods: Names of the alignments.
        trained: What was trained from the start, controls among it.
        seeds: In their order.
    """

    task: Task
    methods: Sequence[str]
    trained: Sequence[Policy]
    seeds: Sequence[SeedResult]

    @property
    def titles(self) -> list[str]:
        """The rows of the report."""
        return [START, *(policy.title for policy in self.trained)]

    def by_picture(self, policy: str, quantity: str) -> Tensor:
        """`(S, P)`: one of `BY_PICTURE`, measured of a policy on the same captions and noises for each seed."""
        return torch.stack([getattr(seed.measured[policy], quantity) for seed in self.seeds])

    def by_pair(self, policy: str, quantity: str) -> Tensor:
        """`(H,)`: one of `BY_PAIR`, over the held-out pairs of all seeds."""
        return torch.cat([getattr(seed.measured[policy], quantity) for seed in self.seeds])

    def distances(self, policy: str) -> list[float]:
        """Each seed's distance to the real digits."""
        return [seed.measured[policy].distance for seed in self.seeds]

    def gains(self, policy: str, other: str, quantity: str = "reward") -> Tensor:
        """`(S, P)`: how much more of a quantity one policy has than another, for the same captions and noises."""
        return self.by_picture(policy, quantity) - self.by_picture(other, quantity)


def conclusions(results: Results) -> list[str]:
    """What the numbers say of every method: its reward against its controls, the verdict, and what it cost."""
    lines = [line for method in results.methods for line in _of_method(results, TITLES[method])]
    policies = [policy.title for policy in results.trained]
    accuracies = ", ".join(f"{results.by_pair(policy, 'accuracy').mean().item():.2f} {policy}" for policy in policies)
    lines.append(
        f"Implicit accuracy ({accuracies}) says nothing alone: it rises just as well where both pictures of a pair "
        "become less likely, which is what drift shows."
    )
    return lines


def _of_method(results: Results, title: str) -> list[str]:
    others = (START, coin_title(title), IMITATION)
    start, coin, imitation = (results.gains(title, other) for other in others)
    lines = [
        comparison(title, other, gain, PLACES) for other, gain in zip(others, (start, coin, imitation), strict=True)
    ]
    return [*lines, verdict(title, start, coin, imitation), _cost(results, title)]


def _cost(results: Results, title: str) -> str:
    fidelity = Estimate.of(results.gains(title, START, "fidelity"))
    changed = {1: "rose", 0: "did not change measurably", -1: "fell"}[fidelity.sign]
    far, farther = (fmean(results.distances(policy)) for policy in (START, title))
    flat, flatter = (results.by_picture(policy, "contrast").mean().item() for policy in (START, title))
    drift = results.by_pair(title, "drift").mean().item()
    return (
        f"What {title} cost: fidelity {changed} ({fidelity.text(signed=True)}); the distance to the real digits went "
        f"from {far:.2f} to {farther:.2f}, contrast from {flat:.2f} to {flatter:.2f}; the chosen pictures' denoising "
        f"error changed by {drift:+.1%}."
    )
