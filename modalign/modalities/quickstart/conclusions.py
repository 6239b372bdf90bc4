"""Sentences that follow from the numbers, good or bad."""

from collections.abc import Mapping

from torch import Tensor

from modalign.modalities.quickstart.estimates import Estimate

CHANGED = {1: "rose", 0: "did not change measurably", -1: "fell"}
"""What a quantity did, by the sign of the estimate of its change."""


def comparison(
    policy: str, other: str, changes: Tensor, quantity: str = "reward", wanted: int = 1, places: int = 2
) -> str:
    """One policy against another.

    Args:
        policy: What the sentence is about.
        other: What it is held against.
        changes: `(S, P)`, how much more of the quantity it has on the same prompts, by seed.
        quantity: What it is called.
        wanted: 1 where more is better, -1 where less is.
        places: Decimal places.
    """
    change, better = Estimate.of(changes), int((wanted * changes.mean(1) > 0).sum())
    relation = {1: "above", 0: "not measurably different from", -1: "below"}[change.sign]
    side = {1: "higher", -1: "lower"}[wanted]
    return (
        f"{policy}'s {quantity} is {relation} that of {other!r}: {change.text(places, signed=True)}, {side} on "
        f"{better} of {len(changes)} seeds."
    )


def verdict(method: str, start: Tensor, coin: Tensor, imitation: Tensor) -> str:
    """What a method's gains in reward over its controls, `(S, P)` each, allow one to say.

    Args:
        method: Its name.
        start: Over the model before alignment.
        coin: Over the same method with labels drawn by coin.
        imitation: Over SFT on the chosen alone.
    """
    if Estimate.of(start).sign <= 0:
        return f"{method} shows no gain over the start."
    if Estimate.of(coin).sign <= 0:
        return f"{method}'s gain does not survive its control: labels drawn by coin do as well or better."
    if Estimate.of(imitation).sign <= 0:
        return f"{method} learns from the labels, but SFT on the chosen alone does as well or better."
    return f"The gain of {method} survives every control."


def beside_controls(
    method: str, changes: Mapping[str, Tensor], quantity: str = "reward", wanted: int = 1, places: int = 2
) -> list[str]:
    """A sentence on a method beside each of the start, its coin control and imitation, and the verdict.

    Args:
        method: Its name.
        changes: By the names of these, in this order: `(S, P)`, how much more of the quantity the method has.
        quantity: What it is called.
        wanted: 1 where more is better, -1 where less is.
        places: Decimal places.
    """
    lines = [comparison(method, other, change, quantity, wanted, places) for other, change in changes.items()]
    start, coin, imitation = (wanted * change for change in changes.values())
    return [*lines, verdict(method, start, coin, imitation)]


def accuracy_caveat(accuracies: Mapping[str, float], responses: str) -> str:
    """The implicit accuracy of every policy, which says nothing alone; `responses` are what pairs are made of."""
    told = ", ".join(f"{accuracy:.2f} {policy}" for policy, accuracy in accuracies.items())
    return (
        f"Implicit accuracy ({told}) says nothing alone: it rises just as well where both {responses} of a pair "
        "become less likely, which is what drift shows."
    )
