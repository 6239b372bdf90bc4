"""All seeds together: differences between policies, and what they allow one to say."""

import torch
from torch import Tensor

from modalign.modalities.quickstart.conclusions import CHANGED, accuracy_caveat, beside_controls
from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.quickstart.policies import START
from modalign.modalities.quickstart.results import MethodResults
from modalign.modalities.vision_language.quickstart.experiment import Task
from modalign.modalities.vision_language.quickstart.measurement import Measured
from modalign.modalities.vision_language.quickstart.plan import TITLES
from modalign.modalities.vision_language.quickstart.preference import Pairs

RATE, RECALL = "rate", "recall"
RATIOS = {RATE: ("invented", "mentioned"), RECALL: ("found", "there")}
BY_PICTURE = (RATE, RECALL, "wrong", "counted", "words", "kl")
PLACES = 3


class Results(MethodResults[Task, Pairs, Measured]):
    """What all seeds gave."""

    def by_picture(self, policy: str, quantity: str) -> Tensor:
        """`(S, P)`: values whose mean is one of `BY_PICTURE`, of the same pictures for each seed."""
        stacked = super().by_picture
        if quantity in RATIOS:
            above, below = RATIOS[quantity]
            return ratio_values(stacked(policy, above), stacked(policy, below))
        return stacked(policy, quantity)


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
    lines = []
    for title in (TITLES[method] for method in results.methods):
        changes = results.beside_controls(title, RATE)
        lines += beside_controls(title, changes, "hallucination rate", wanted=-1, places=PLACES)
        lines.append(_cost(results, title))
    accuracies = {policy.title: results.pair_means(policy.title)["accuracy"] for policy in results.trained}
    return [*lines, accuracy_caveat(accuracies, "descriptions")]


def _cost(results: Results, title: str) -> str:
    recall = Estimate.of(results.difference(title, START, RECALL))
    less = " Part of what it does not invent, it does not say at all." if recall.sign < 0 else ""
    before, after = (results.by_picture(policy, "words").mean().item() for policy in (START, title))
    drift, kl = results.pair_means(title)["drift"], results.by_picture(title, "kl").mean().item()
    return (
        f"What {title} cost: recall {CHANGED[recall.sign]} ({recall.text(signed=True)}); descriptions went from "
        f"{before:.1f} words to {after:.1f}; held-out chosen ones changed by {drift:+.2f} nats, and the policy is "
        f"{kl:.2f} nats from the start.{less}"
    )
