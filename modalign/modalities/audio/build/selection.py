"""Which sounds become pairs: by their scores under the prompt."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from modalign.modalities.audio.clip import Clip

Strategy = Literal["inference", "perturbed", "temporal"]
STRATEGIES: tuple[Strategy, ...] = ("inference", "perturbed", "temporal")


@dataclass(frozen=True)
class Take:
    """A sound that was generated.

    Attributes:
        clip: The sound.
        said: The caption it was generated from.
        score: Its agreement with the prompt, whatever it was generated from.
        options: What of the sampling differed from the other takes'.
    """

    clip: Clip
    said: str
    score: float
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Thresholds:
    """When two sounds make a pair.

    Attributes:
        floor: What the chosen one's score must reach.
        gap: By how much the rejected one's must be lower, at least; a tie is never a pair.
        ceiling: What the rejected one's may not exceed; None for no limit.
        losers: All that pass, or of each strategy the worst alone.
    """

    floor: float
    gap: float
    ceiling: float | None = None
    losers: Literal["all", "worst"] = "all"


@dataclass(frozen=True)
class Selected:
    """What became of a prompt.

    Attributes:
        chosen: The best take; None where it is not good enough.
        rejected: The takes that make a pair with it, by strategy.
        left_out: How many takes, or prompts, fell out, by reason.
    """

    chosen: Take | None
    rejected: Sequence[tuple[Strategy, Take]]
    left_out: Counter[str]


def select(
    faithful: Sequence[Take], others: Sequence[tuple[Strategy, Take]], thresholds: Thresholds, inference: bool = True
) -> Selected:
    """Choose the best faithful take, and what it is preferred to.

    Args:
        faithful: Generated from the prompt itself.
        others: Generated from captions that say otherwise.
        thresholds: See there.
        inference: Whether the faithful takes that are not chosen are candidates for rejection too.
    """
    left_out = Counter[str]()
    judged = [take for take in faithful if math.isfinite(take.score)]
    if len(judged) < len(faithful):
        left_out["a score is not a finite number"] += len(faithful) - len(judged)
    chosen = max(judged, key=lambda take: take.score, default=None)
    if chosen is None or chosen.score < thresholds.floor:
        left_out["the best sound of a prompt scores below the floor"] += 1
        return Selected(None, (), left_out)
    takes: list[tuple[Strategy, Take]] = [("inference", take) for take in judged if inference and take is not chosen]
    kept = list[tuple[Strategy, Take]]()
    for strategy, take in (*takes, *others):
        reason = _unfit(chosen, take, thresholds)
        if reason:
            left_out[f"{strategy}: {reason}"] += 1
        else:
            kept.append((strategy, take))
    if thresholds.losers == "worst":
        worst = dict[Strategy, Take]()
        for strategy, take in kept:
            if strategy not in worst or take.score < worst[strategy].score:
                worst[strategy] = take
        left_out["not the worst of its strategy"] += len(kept) - len(worst)
        kept = list(worst.items())
    return Selected(chosen, kept, +left_out)


def _unfit(chosen: Take, take: Take, thresholds: Thresholds) -> str:
    """Why a take is not rejected in favour of the chosen; "" where it is."""
    if not math.isfinite(take.score):
        return "a score is not a finite number"
    if chosen.score == take.score:  # whatever the gap
        return "the score is the best one's"
    if chosen.score - take.score < thresholds.gap:
        return "the score is too near the best one's"
    if thresholds.ceiling is not None and take.score > thresholds.ceiling:
        return "the score is above the ceiling"
    return ""
