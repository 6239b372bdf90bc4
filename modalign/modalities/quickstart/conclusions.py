"""Sentences that follow from the numbers, good or bad."""

from torch import Tensor

from modalign.modalities.quickstart.estimates import Estimate


def comparison(policy: str, other: str, gains: Tensor, places: int = 2) -> str:
    """One policy's reward against another's.

    Args:
        policy: What the sentence is about.
        other: What it is held against.
        gains: `(S, P)`, how much higher its reward is on the same prompts, by seed.
        places: Decimal places of the reward.
    """
    gain, higher = Estimate.of(gains), int((gains.mean(1) > 0).sum())
    relation = {1: "above", 0: "not measurably different from", -1: "below"}[gain.sign]
    difference = gain.text(places, signed=True)
    return f"{policy}'s reward is {relation} that of {other!r}: {difference}, higher on {higher} of {len(gains)} seeds."


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
