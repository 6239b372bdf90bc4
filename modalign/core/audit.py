"""A look at preferences before training: what is counted twice, contradicts itself, or can be told by length alone."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from typing import Any

from modalign.core.batch import CANDIDATE, CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.content import content_hash

Z_95 = 1.959963984540054
"""Two-sided 95% quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Preference:
    """One response preferred to another, in one context each."""

    preferred: Candidate
    other: Candidate


@dataclass
class PairAudit:
    """Counts over a data set.

    A ranked list counts as all of its pairs. A labelled single response counts neither as a pair nor as a tie, but may
    be a duplicate or contradict another.

    Attributes:
        comparisons: How many were looked at.
        pairs: Preferences in them.
        ties: Pairs of a list, or with scores on both sides, whose scores are equal.
        identical: Pairs whose two sides are the same.
        duplicates: Pairs, or labelled responses, that stood there before.
        contradictions: Pairs that stood there before with swapped sides, or responses with the other label.
        longer: Pairs of texts whose preferred side is longer.
        shorter: Pairs of texts whose preferred side is shorter.
        opaque: Pairs or responses that cannot be compared by content (media held as objects).
    """

    comparisons: int = 0
    pairs: int = 0
    ties: int = 0
    identical: int = 0
    duplicates: int = 0
    contradictions: int = 0
    longer: int = 0
    shorter: int = 0
    opaque: int = 0

    @property
    def longer_share(self) -> tuple[float, float, float] | None:
        """Share of pairs of unequal length whose preferred side is longer, with Wilson's 95% interval."""
        total = self.longer + self.shorter
        return (self.longer / total, *wilson_interval(self.longer, total)) if total else None

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"{self.comparisons} comparisons, {self.pairs} pairs"
        yield f"ties: {self.ties}"
        yield f"identical sides: {self.identical}"
        yield f"duplicates: {self.duplicates}"
        yield f"contradictions (swapped sides, opposite labels): {self.contradictions}"
        if self.longer_share is not None:
            share, low, high = self.longer_share
            verdict = "no length bias to be seen" if low <= 0.5 <= high else "length tells part of the preference"
            yield f"preferred side longer: {share:.1%} (95% interval {low:.1%} to {high:.1%}): {verdict}"
        if self.opaque:
            yield f"not compared by content: {self.opaque}"


def audit(comparisons: Iterable[Comparison]) -> PairAudit:
    """Count what is suspicious in some comparisons; memory holds 16 bytes a pair."""
    found = PairAudit()
    seen: set[bytes] = set()
    for comparison in comparisons:
        found.comparisons += 1
        for preference in preferences(comparison):
            _count_pair(found, seen, comparison, preference)
        found.ties += ties(comparison)
        if len(comparison.candidates) == 1 and comparison.candidates[0].score is not None:
            _count_label(found, seen, comparison)
    return found


def preferences(comparison: Comparison) -> list[Preference]:
    """The preferences that a comparison states: chosen over rejected, higher score over lower."""
    by_role = {role: [c for c in comparison.candidates if c.role == role] for role in (CHOSEN, REJECTED)}
    stated = [Preference(chosen, rejected) for chosen in by_role[CHOSEN] for rejected in by_role[REJECTED]]
    ranked = [
        Preference(*((a, b) if a_score > b_score else (b, a)))
        for (a, a_score), (b, b_score) in combinations(_scored(comparison), 2)
        if a_score != b_score
    ]
    return stated + ranked


def ties(comparison: Comparison) -> int:
    """How many pairs of a comparison have equal scores."""
    stated = sum(_is_tie(preference) for preference in preferences(comparison))
    return stated + sum(a == b for (_, a), (_, b) in combinations(_scored(comparison), 2))


def text_length(response: Any) -> int | None:
    """Characters of a text or of chat messages; None for anything else."""
    if isinstance(response, str):
        return len(response)
    if isinstance(response, Mapping):
        return text_length(response.get("content", response.get("text")))
    if isinstance(response, Sequence) and not isinstance(response, bytes):
        lengths = [text_length(part) for part in response]
        return None if None in lengths else sum(length for length in lengths if length is not None)
    return None


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """The 95% score interval of a proportion (Wilson 1927)."""
    centre = (successes + Z_95**2 / 2) / (total + Z_95**2)
    spread = Z_95 / (total + Z_95**2) * math.sqrt(successes * (total - successes) / total + Z_95**2 / 4)
    return centre - spread, centre + spread


def _is_tie(preference: Preference) -> bool:
    """Whether a pair is stated though both sides have one score; a list states no such pair."""
    return preference.preferred.score is not None and preference.preferred.score == preference.other.score


def _scored(comparison: Comparison) -> list[tuple[Candidate, float]]:
    return [(c, c.score) for c in comparison.candidates if c.role == CANDIDATE and c.score is not None]


def _count_pair(found: PairAudit, seen: set[bytes], comparison: Comparison, preference: Preference) -> None:
    found.pairs += 1
    lengths = text_length(preference.preferred.response), text_length(preference.other.response)
    if lengths[0] is not None and lengths[1] is not None:
        found.longer += lengths[0] > lengths[1]
        found.shorter += lengths[0] < lengths[1]
    sides = [_content(side, comparison) for side in (preference.preferred, preference.other)]
    if None in sides:
        found.opaque += 1
    elif sides[0] == sides[1]:
        found.identical += 1
    else:
        # A tie that is kept as a soft label stands there in both directions, and contradicts nothing.
        _remember(found, seen, [*sides], None if _is_tie(preference) else [*reversed(sides)])


def _count_label(found: PairAudit, seen: set[bytes], comparison: Comparison) -> None:
    (candidate,) = comparison.candidates
    content = _content(candidate, comparison)
    if content is None:
        found.opaque += 1
    else:
        good = bool(candidate.score and candidate.score > 0)
        _remember(found, seen, [content, good], [content, not good])


def _remember(found: PairAudit, seen: set[bytes], this: list[Any], opposite: list[Any] | None) -> None:
    key = _digest(this)
    found.duplicates += key in seen
    found.contradictions += opposite is not None and _digest(opposite) in seen
    seen.add(key)


def _content(candidate: Candidate, comparison: Comparison) -> str | None:
    """What a candidate says and in which context; None where it has no content to compare by."""
    context = comparison.prompt if candidate.context is None else candidate.context
    try:
        return json.dumps([context, candidate.response], sort_keys=True)
    except TypeError:
        pass
    try:
        return content_hash([context, candidate.response])
    except TypeError:
        return None


def _digest(parts: list[Any]) -> bytes:
    return blake2b(json.dumps(parts).encode(), digest_size=16).digest()
