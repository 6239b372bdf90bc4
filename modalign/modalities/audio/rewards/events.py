"""What events sound like, and when they are heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from modalign.core.errors import ConfigError, did_you_mean
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.heard import mono
from modalign.modalities.audio.rewards.spectra import NOISE_FLATNESS, flatness, spectrogram, speeds

EventKind = Literal["tone", "noise", "any"]

_QUIETEST = 1e-6
"""Mean square of -60 dBFS: what is softer is silence."""
_FEWEST_BINS = 16
_HALF_FRAME = 0.016
"""Seconds."""


@dataclass(frozen=True)
class Event:
    """What an event sounds like, in single frames of 32 ms and in how long they go on.

    Attributes:
        kind: `tone`: few frequencies of the band sound. `noise`: all of them alike. `any`: whatever is in the band.
        band: Lowest and highest frequency in hertz; None for the highest there is.
        speed: Of a `tone`: the least that its frequency moves, up or down, and what it stays below, in octaves a
            second; None for any. A jump from one frequency to another is no movement.
        shortest: Seconds without a break; what is shorter is not the event: where one event meets another, or silence,
            a few frames sound like neither.
        longest: Seconds without a break; what is longer is not the event. None: any.
        times: How often it must come, as 2 for beeps.
    """

    kind: EventKind = "any"
    band: tuple[float, float | None] = (0.0, None)
    speed: tuple[float, float | None] = (0.0, None)
    shortest: float = 0.05
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
        slowest, fastest = self.speed
        if slowest < 0 or (fastest is not None and fastest <= slowest):
            raise ConfigError(
                f"event_order: the speed of {name!r} is {[slowest, fastest]}.",
                "Give [lowest, highest] in octaves a second.",
            )
        if self.kind != "tone" and self.speed != (0.0, None):
            raise ConfigError(f"event_order: {name!r} of the kind {self.kind} has a speed.", "Only tones have one.")
        if self.shortest < 0 or (self.longest is not None and self.longest <= self.shortest) or self.times < 1:
            raise ConfigError(
                f"event_order: {name!r} has shortest {self.shortest}, longest {self.longest}, times {self.times}.",
                "Give 0 <= shortest < longest in seconds, and times of at least 1.",
            )

    def alike(self, other: "Event") -> bool:
        """Whether the band alone tells two events apart: `shortest` and `times` say only how much of it is enough."""
        return (self.kind, self.speed, self.longest) == (other.kind, other.speed, other.longest)

    def within(self, other: "Event") -> bool:
        """Whether another event's band has all of this one's, and more."""
        (low, high), (lowest, highest) = self.band, other.band
        return self.band != other.band and lowest <= low and (high or np.inf) <= (highest or np.inf)


_STEADY = (0.0, 0.3)
_MOVING = (0.3, None)
"""From an octave in about three seconds; noise as loud as a tone of 200 Hz makes it seem to move at about 0.2."""
DEFAULT_EVENTS: Mapping[str, Event] = {
    "low tone": Event("tone", (60.0, 700.0), _STEADY),
    "high tone": Event("tone", (900.0, None), _STEADY),
    "tone": Event("tone", (60.0, None), _STEADY),
    "chirp": Event("tone", (60.0, None), _MOVING),
    "beep": Event("tone", (60.0, None), _STEADY, longest=0.3),
    "beeps": Event("tone", (60.0, None), _STEADY, longest=0.3, times=2),
    "noise": Event("noise"),
}


def spells(
    clip: Clip, event: Event, threshold: float, dynamic_range: float, apart: Sequence[Event] = ()
) -> list[tuple[float, float]]:
    """From when to when an event is heard.

    A frame's evidence is the share of its power that lies in the event's band, times how flat the band's spectrum is
    (`noise`) or is not (`tone`), where the flatness that single frames of white noise have counts as 1. An event that
    has a speed is heard only where the band's strongest frequency moves at it.

    Args:
        clip: At least one sample.
        event: What to listen for.
        threshold: Evidence from which a frame is the event's.
        dynamic_range: In decibels: frames that are softer than the loudest by more are silence.
        apart: Events whose bands are not the event's.

    Returns:
        Beginning and end in seconds, exact to half a frame, of each time that it goes on without a break; none where
        they are fewer than the event's `times`.
    """
    found = spectrogram(mono(clip), clip.rate, length=2 * _HALF_FRAME)
    inside = _inside(found.frequencies, event)
    for other in apart:
        inside &= ~_inside(found.frequencies, other)
    power = found.power.sum(axis=-1)
    if not inside.any() or power.max() < _QUIETEST:
        return []
    evidence = found.power[:, inside].sum(axis=-1) / np.maximum(power, np.finfo(np.float64).tiny)
    if event.kind != "any":
        flat = np.minimum(flatness(found.power[:, _widened(inside)]) / NOISE_FLATNESS, 1)
        evidence = evidence * (flat if event.kind == "noise" else 1 - flat)
    loud = power >= max(_QUIETEST, power.max() * 10 ** (-dynamic_range / 10))
    active = loud & (evidence >= threshold)
    if event.speed != (0.0, None):
        speed, (slowest, fastest) = speeds(found, inside, active), event.speed
        active &= (speed >= slowest) & (speed < (np.inf if fastest is None else fastest))
    step = float(found.times[1] - found.times[0]) if len(found.times) > 1 else clip.seconds
    kept = [
        (float(found.times[start]), float(found.times[stop - 1]))
        for start, stop in _runs(active)
        if event.shortest <= (stop - start) * step <= (event.longest or np.inf)
    ]
    return kept if len(kept) >= event.times else []


def outside(found: Sequence[tuple[float, float]], taken: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The spells that lie within none of others, by half a frame."""
    return [
        (begin, end)
        for begin, end in found
        if not any(first - _HALF_FRAME <= begin and end <= last + _HALF_FRAME for first, last in taken)
    ]


def _inside(frequencies: NDArray[np.float64], event: Event) -> NDArray[np.bool_]:
    low, high = event.band
    return (frequencies >= low) & (frequencies <= (np.inf if high is None else high))


def _widened(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A band with as many bins as it takes to tell a tone from noise."""
    first, stop = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
    missing = max(_FEWEST_BINS - (stop - first), 0)
    places = np.arange(len(inside))
    return (places >= first - missing // 2) & (places < stop + missing - missing // 2)


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where frames are active without a break: the first of them, and the one after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
