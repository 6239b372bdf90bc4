"""All seeds together: means, intervals, differences between policies, and what they allow one to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modalign.modalities.text.quickstart.experiment import COIN, DPO, IMITATION, START, SeedResult
from modalign.modalities.text.quickstart.measurement import interval

BY_PROMPT = ("reward", "wins", "correct", "kl")
BY_PAIR = ("accuracy", "drift")


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and prompts.

    Attributes:
        mean: The estimate.
        low: Lower end of its 95% interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """Of `(S, P)` values; see `interval`."""
        return cls(values.mean().item(), *interval(values))

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"

    @property
    def signed(self) -> str:
        """The same, for a difference."""
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def by_prompt(results: Sequence[SeedResult], policy: str, quantity: str) -> Tensor:
    """`(S, P)`: one of `BY_PROMPT`, measured of a policy on the same prompts for each seed."""
    return torch.stack([getattr(result.measured[policy], quantity) for result in results])


def by_pair(results: Sequence[SeedResult], policy: str, quantity: str) -> Tensor:
    """`(H,)`: one of `BY_PAIR`, over the held-out pairs of all seeds."""
    return torch.cat([getattr(result.measured[policy], quantity) for result in results])


def differences(results: Sequence[SeedResult], policy: str, other: str, quantity: str) -> Tensor:
    """`(S, P)`: how much more of a quantity one policy has than another, on the same prompts."""
    return by_prompt(results, policy, quantity) - by_prompt(results, other, quantity)


def conclusions(results: Sequence[SeedResult]) -> list[str]:
    """What the numbers say of DPO: its reward against every control, the verdict, and what it cost."""
    gains = {other: differences(results, DPO, other, "reward") for other in (START, COIN, IMITATION)}
    lines = [_comparison(other, gain) for other, gain in gains.items()]
    lines.append(_verdict({other: _sign(Estimate.of(gain)) for other, gain in gains.items()}))
    correct = Estimate.of(differences(results, DPO, START, "correct"))
    changed = {1: "rose", 0: "did not change measurably", -1: "fell"}[_sign(correct)]
    drift = by_pair(results, DPO, "drift").mean().item()
    lines.append(f"Its cost: correct answers {changed} ({correct.signed}); chosen answers drift by {drift:+.2f} nats.")
    return lines


def _comparison(other: str, gains: Tensor) -> str:
    gain, higher = Estimate.of(gains), int((gains.mean(1) > 0).sum())
    relation = {1: "above", 0: "not measurably different from", -1: "below"}[_sign(gain)]
    return f"DPO's reward is {relation} that of {other!r}: {gain.signed}, higher on {higher} of {len(gains)} seeds."


def _verdict(signs: Mapping[str, int]) -> str:
    """One sentence from the signs of DPO's differences to its controls."""
    beaten = [other for other, sign in signs.items() if sign > 0]
    if len(beaten) == len(signs):
        return "The gain of DPO survives every control."
    if START not in beaten:
        return "DPO shows no gain over the start."
    if COIN not in beaten:
        return "DPO's gain does not survive its control: labels drawn by coin do as well or better."
    return "DPO learns from the labels, but SFT on the chosen answers alone does as well or better."


def _sign(estimate: Estimate) -> int:
    """1 or -1 where the interval leaves 0 out, else 0."""
    return int(estimate.low > 0) - int(estimate.high < 0)
