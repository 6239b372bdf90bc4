"""All seeds together: differences between policies, and what they allow one to say."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modalign.modalities.quickstart.conclusions import verdict
from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.vision_language.quickstart.experiment import Learned, Task
from modalign.modalities.vision_language.quickstart.measurement import Measured
from modalign.modalities.vision_language.quickstart.plan import IMITATION, START, TITLES, Policy, coin_title

RATE, RECALL = "rate", "recall"
RATIOS = {RATE: ("invented", "mentioned"), RECALL: ("found", "there")}
BY_PICTURE = (RATE, RECALL, "wrong", "counted", "words", "kl")
BY_PAIR = ("accuracy", "drift")
PLACES = 3


@dataclass(frozen=True)
class SeedResult:
    """What one seed gave.

    Attributes:
        learned: The start and its pairs.
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
        """`(S, P)`: values whose mean is one of `BY_PICTURE`, of the same pictures for each seed."""
        if quantity in RATIOS:
            return ratio_values(*(self._stacked(policy, part) for part in RATIOS[quantity]))
        return self._stacked(policy, quantity)

    def by_pair(self, policy: str, quantity: str) -> Tensor:
        """`(H,)`: one of `BY_PAIR`, over the held-out pairs of all seeds."""
        return torch.cat([getattr(seed.measured[policy], quantity) for seed in self.seeds])

    def difference(self, policy: str, other: str, quantity: str = RATE) -> Tensor:
        """`(S, P)`: how much more of a quantity one policy has than another, on the same pictures."""
        return self.by_picture(policy, quantity) - self.by_picture(other, quantity)

    def _stacked(self, policy: str, quantity: str) -> Tensor:
        return torch.stack([getattr(seed.measured[policy], quantity) for seed in self.seeds])


def ratio_values(above: Tensor, below: Tensor) -> Tensor:
    """Values whose mean is `above.sum() / below.sum()`, and vary as that ratio does.

    `r + (above - r below) / mean(below)`: the ratio's linearisation in the two means (the delta method), so that its
    interval is that of a mean, and two policies' ratios can be compared picture by picture.
    """
    mean = below.mean().clamp(min=torch.finfo(below.dtype).tiny)
    ratio = above.mean() / mean
    return ratio + (above - ratio * below) / mean


def conclusions(results: Results) -> list[str]:
    """What the numbers say of every method: its hallucination rate against its controls, the verdict, the cost."""
    lines = [line for method in results.methods for line in _of_method(results, TITLES[method])]
    policies = [policy.title for policy in results.trained]
    accuracies = ", ".join(f"{results.by_pair(policy, 'accuracy').mean().item():.2f} {policy}" for policy in policies)
    lines.append(
        f"Implicit accuracy ({accuracies}) says nothing alone: it rises just as well where both descriptions of a pair "
        "become less likely, which is what drift shows."
    )
    return lines


def _of_method(results: Results, title: str) -> list[str]:
    others = (START, coin_title(title), IMITATION)
    changes = [results.difference(title, other) for other in others]
    sentences = [_sentence(title, other, change) for other, change in zip(others, changes, strict=True)]
    start, coin, imitation = (-change for change in changes)
    return [*sentences, verdict(title, start, coin, imitation), _cost(results, title)]


def _sentence(policy: str, other: str, change: Tensor) -> str:
    estimate, lower = Estimate.of(change), int((change.mean(1) < 0).sum())
    relation = {-1: "below", 0: "not measurably different from", 1: "above"}[estimate.sign]
    difference = estimate.text(PLACES, signed=True)
    return (
        f"{policy}'s hallucination rate is {relation} that of {other!r}: {difference}, lower on {lower} of "
        f"{len(change)} seeds."
    )


def _cost(results: Results, title: str) -> str:
    recall = Estimate.of(results.difference(title, START, RECALL))
    changed = {1: "rose", 0: "did not change measurably", -1: "fell"}[recall.sign]
    less = " Part of what it does not invent, it does not say at all." if recall.sign < 0 else ""
    before, after = (results.by_picture(policy, "words").mean().item() for policy in (START, title))
    return (
        f"What {title} cost: recall {changed} ({recall.text(signed=True)}); descriptions went from {before:.1f} words "
        f"to {after:.1f}; held-out chosen ones changed by {results.by_pair(title, 'drift').mean().item():+.2f} nats, "
        f"and the policy is {results.by_picture(title, 'kl').mean().item():.2f} nats from the start.{less}"
    )
