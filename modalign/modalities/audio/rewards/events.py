"""Events that a prompt names: what each sounds like, and in which order they are wanted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from modalign.core.errors import ConfigError, RowError, did_you_mean
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.heard import Samples, mono
from modalign.modalities.audio.rewards.spectra import NOISE_FLATNESS, flatness, spectrogram

EventKind = Literal["tone", "noise", "any"]

_QUIETEST = 1e-6
"""Mean square of -60 dBFS: what is softer is silence."""
_FEWEST_BINS = 16
_FORWARD = re.compile(
    r"\b(then|followed by|before|next|later|after (that|which|this)|afterwards?|precedes|preceding)\b"
)
_LEAD = re.compile(r"(?:^|[,;.])\s*(?P<word>before|after)\s+(?:\w+\s+){0,2}$")
"""Before the first event, `before` and `after` order it and the next one where they open a sentence or a part of it."""
_BACKWARD = re.compile(r"\b(after|preceded by|follows|following)\b")


@dataclass(frozen=True)
class Event:
    """What an event sounds like, in single frames of 32 ms and in how long they go on.

    Attributes:
        kind: `tone`: few frequencies of the band sound. `noise`: all of them alike. `any`: whatever is in the band.
        band: Lowest and highest frequency in hertz; None for the highest there is.
        shortest: Seconds without a break; what is shorter is not the event.
        longest: Seconds without a break; what is longer is not the event. None: any.
        times: How often it must come, as 2 for beeps.
    """

    kind: EventKind = "any"
    band: tuple[float, float | None] = (0.0, None)
    shortest: float = 0.0
    longest: float | None = None
    times: int = 1

    def check(self, name: str) -> None:
        """Refuse what describes nothing.

        Raises:
            ConfigError: Naming the event.
        """
        if self.kind not in get_args(EventKind):
            raise ConfigError(
                f"event_order: the kind of {name!r} is {self.kind!r}.",
                did_you_mean(str(self.kind), get_args(EventKind)),
            )
        low, high = self.band
        if low < 0 or (high is not None and high <= low):
            raise ConfigError(
                f"event_order: the band of {name!r} is {[low, high]}.", "Give [lowest, highest] in hertz."
            )
        if self.shortest < 0 or (self.longest is not None and self.longest <= self.shortest) or self.times < 1:
            raise ConfigError(
                f"event_order: {name!r} has shortest {self.shortest}, longest {self.longest}, times {self.times}.",
                "Give 0 <= shortest < longest in seconds, and times of at least 1.",
            )


DEFAULT_EVENTS: Mapping[str, Event] = {
    "low tone": Event("tone", (60.0, 700.0)),
    "high tone": Event("tone", (900.0, None)),
    "tone": Event("tone", (60.0, None)),
    "chirp": Event("tone", (60.0, None)),
    "beep": Event("tone", (60.0, None), longest=0.3),
    "beeps": Event("tone", (60.0, None), longest=0.3, times=2),
    "noise": Event("noise"),
}


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

    `a then b`, `a followed by b`, `a before b` and `b after a` order two events that stand next to each other, as
    `after a, b` and `before b, a` do; what follows from such pairs is wanted too. Others (`a and b`) are in no order.

    Args:
        prompt: English text; upper and lower case are the same, and so are singular and plural in -s.
        names: Of the events; the longest that fits is taken.

    Raises:
        RowError: It names an event twice, so that an order of single events does not tell what is wanted; or wants
            an event before itself.
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


def sounding(clip: Clip, event: Event, threshold: float, dynamic_range: float) -> tuple[Samples, Samples]:
    """When an event is heard.

    A frame's evidence is the share of its power that lies in the event's band, times how flat the band's spectrum is
    (`noise`) or is not (`tone`), where the flatness that single frames of white noise have counts as 1.

    Args:
        clip: At least one sample.
        event: What to listen for.
        threshold: Evidence from which a frame is the event's.
        dynamic_range: In decibels: frames that are softer than the loudest by more are silence.

    Returns:
        `(frames,)` times in seconds, and `(frames,)` evidence, 0 where the event is not heard.
    """
    found = spectrogram(mono(clip), clip.rate)
    low, high = event.band
    inside = (found.frequencies >= low) & (found.frequencies <= (np.inf if high is None else high))
    power = found.power.sum(axis=-1)
    if not inside.any() or power.max() < _QUIETEST:
        return found.times, np.zeros_like(power)
    evidence = found.power[:, inside].sum(axis=-1) / np.maximum(power, np.finfo(np.float64).tiny)
    if event.kind != "any":
        flat = np.minimum(flatness(found.power[:, _widened(inside)]) / NOISE_FLATNESS, 1)
        evidence = evidence * (flat if event.kind == "noise" else 1 - flat)
    loud = power >= max(_QUIETEST, power.max() * 10 ** (-dynamic_range / 10))
    step = found.times[1] - found.times[0] if len(found.times) > 1 else clip.seconds
    kept = _of_length(loud & (evidence >= threshold), event, float(step))
    return found.times, np.where(kept, evidence, 0.0)


def _widened(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A band with as many bins as it takes to tell a tone from noise."""
    first, stop = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
    missing = max(_FEWEST_BINS - (stop - first), 0)
    places = np.arange(len(inside))
    return (places >= first - missing // 2) & (places < stop + missing - missing // 2)


def _of_length(active: NDArray[np.bool_], event: Event, step: float) -> NDArray[np.bool_]:
    """Only the runs that last as long as the event does, and none where they are too few."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
    runs = [
        (start, stop)
        for start, stop in edges.reshape(-1, 2)
        if event.shortest <= (stop - start) * step <= (event.longest or np.inf)
    ]
    kept = np.zeros(len(active), dtype=bool)
    if len(runs) >= event.times:
        for start, stop in runs:
            kept[start:stop] = True
    return kept
