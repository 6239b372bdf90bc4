"""All seeds together: differences between policies, and what they allow one to say."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modalign.modalities.quickstart.conclusions import CHANGED, beside_controls
from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.quickstart.policies import IMITATION, START
from modalign.modalities.text.quickstart.experiment import COIN, DPO, SeedResult

BY_PROMPT = ("reward", "wins", "correct", "kl")
BY_PAIR = ("accuracy", "drift")


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
    correct = Estimate.of(differences(results, DPO, START, "correct"))
    drift = by_pair(results, DPO, "drift").mean().item()
    changed = f"{CHANGED[correct.sign]} ({correct.text(signed=True)})"
    cost = f"Its cost: correct answers {changed}; chosen answers drift by {drift:+.2f} nats."
    return [*beside_controls(DPO, gains), cost]
