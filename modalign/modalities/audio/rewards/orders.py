"""Which events a prompt names, and in which order it wants them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from modalign.core.errors import RowError

_FORWARD = re.compile(
    r"\b(then|followed by|before|until|next|later|after (that|which|this)|afterwards?|precedes|preceding)\b"
)
_LEAD = re.compile(r"(?:^|[,;.])\s*(?P<word>before|after)\s+(?:\w+\s+){0,2}$")
"""Before the first event, `before` and `after` order it and the next one where they open a sentence or a part of it."""
_BACKWARD = re.compile(r"\b(after|preceded by|follows|following)\b")


@dataclass(frozen=True)
class Wanted:
    """What a prompt asks for.

    Attributes:
        events: The names of events, in the order of the text.
        order: Pairs of them: the first is wanted before the second.
    """

    events: Sequence[str]
    order: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def wanted(prompt: str, names: Sequence[str]) -> Wanted:
    """Which events a prompt names and in which order it wants them.

    `a then b`, `a followed by b`, `a before b`, `a until b` and `b after a` order two events that stand next to each
    other, as `after a, b` and `before b, a` do; what follows from such pairs is wanted too. Others (`a and b`) are in
    no order.

    Args:
        prompt: English text; upper and lower case are the same, and so are singular and plural in -s.
        names: Of the events; the longest that fits is taken.

    Raises:
        RowError: It names an event twice, so that an order of single events does not tell what is wanted.
    """
    longest_first = sorted(names, key=len, reverse=True)
    pattern = "|".join(rf"\b{re.escape(name.lower())}(?:s)?\b" for name in longest_first)
    text = prompt.lower()
    found = [(match, _name_of(match.group(), longest_first)) for match in re.finditer(pattern, text)]
    named = [name for _, name in found]
    if twice := [name for name in dict.fromkeys(named) if named.count(name) > 1]:
        raise RowError(f"a prompt names an event twice: {twice[0]!r} in {prompt!r}", "Name each event once.", "prompt")
    pairs: set[tuple[str, str]] = set()
    for place, ((first, a), (second, b)) in enumerate(pairwise(found)):
        between = text[first.end() : second.start()]
        lead = _LEAD.search(text[: first.start()]) if place == 0 else None
        direction = _direction(between) or (-_direction(lead["word"]) if lead else 0)
        if direction:
            pairs.add((a, b) if direction > 0 else (b, a))
    return Wanted(named, frozenset(_closed(pairs)))


def _name_of(text: str, longest_first: Sequence[str]) -> str:
    exact = [name for name in longest_first if name.lower() == text]
    return exact[0] if exact else next(name for name in longest_first if name.lower() + "s" == text)


def _direction(text: str) -> int:
    """1: what stands before comes first; -1: what stands after does; 0: it says nothing."""
    if _FORWARD.search(text):
        return 1
    return -1 if _BACKWARD.search(text) else 0


def _closed(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """With every pair that follows from two others."""
    while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs = pairs | more
    return pairs
