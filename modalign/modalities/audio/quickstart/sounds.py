"""Sounds to learn from: one event, or two one after another, generated, and what they are called."""

import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import torch
from torch import Tensor

from modalign.core.keys import generator
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.writing import write_wav

RATE = 8000
SAMPLES = 8192
EVENTS = ("a low tone", "a rising chirp", "fast beeps", "a noise burst")

Order = tuple[int, int]
"""The numbers of the first and of the second event."""

ORDERS: tuple[Order, ...] = tuple(permutations(range(len(EVENTS)), 2))
CAPTIONS = tuple(f"{EVENTS[first]} then {EVENTS[second]}" for first, second in ORDERS)
"""Of two events, in the order of `ORDERS`; a sound of one event alone is called by its name."""

_LEVEL = 0.5
_QUIETEST = -8.0  # decibels below _LEVEL
_RAMP = 0.01  # seconds in which an event fades in and out
_HISS = 0.001  # the standard deviation of the noise behind all sounds


def make_sound(events: Sequence[int], draw: torch.Generator) -> Clip:
    """One event or two; pitches, levels and where the first of two ends are drawn anew."""
    cut = round(SAMPLES * _between(0.42, 0.58, draw))
    lengths = (cut, SAMPLES - cut) if len(events) == 2 else (SAMPLES,)
    made = [make_event(number, length, draw) for number, length in zip(events, lengths, strict=True)]
    hiss = _HISS * torch.randn(SAMPLES, generator=draw)
    return Clip((torch.cat(made) + hiss).clamp(-1, 1)[None], RATE)


def make_event(number: int, length: int, draw: torch.Generator) -> Tensor:
    """`(length,)` samples of one of `EVENTS`."""
    time = torch.arange(length) / RATE
    level = _LEVEL * 10 ** (_between(_QUIETEST, 0.0, draw) / 20)
    fades = (torch.minimum(time, time.flip(0)) / _RAMP).clamp(max=1)
    return level * fades * _MAKERS[number](time, draw)


def write_captioned(folder: Path, count: int, right: float) -> list[dict[str, str]]:
    """Write sounds of one event and of two, whose events are only sometimes in their caption's order.

    Args:
        folder: Where they go; it must not exist.
        count: How many, each caption of two events as often, and that of one half as often.
        right: How often the order of two is the caption's; else it is the reverse.

    Returns:
        A row of `prompt` and `audio` for each, its path from `folder`'s parent.
    """
    draw = generator("captioned sounds")
    one = [(name, (event,)) for event, name in enumerate(EVENTS)]
    two = list(zip(CAPTIONS, ORDERS, strict=True))
    kinds = [*two, *two, *one]
    rows = []
    for number in range(count):
        caption, events = kinds[number % len(kinds)]
        is_right = float(torch.rand((), generator=draw)) < right
        path = folder / f"{number:04d}.wav"
        write_wav(make_sound(events if is_right else events[::-1], draw), path)
        rows.append({"prompt": caption, "audio": f"{folder.name}/{path.name}"})
    return rows


def reverse(order: Sequence[int]) -> Order:
    """The same events, the second one first."""
    first, second = order
    return second, first


def _low_tone(time: Tensor, draw: torch.Generator) -> Tensor:
    return torch.sin(2 * math.pi * (_between(200, 320, draw) * time + _between(0, 1, draw)))


def _rising_chirp(time: Tensor, draw: torch.Generator) -> Tensor:
    low, high = _between(500, 650, draw), _between(1100, 1400, draw)
    rise = (high - low) * RATE / len(time)
    return torch.sin(2 * math.pi * (low * time + rise * time.square() / 2))


def _fast_beeps(time: Tensor, draw: torch.Generator) -> Tensor:
    pitch, beeps_a_second = _between(2000, 2800, draw), _between(8, 11, draw)
    return torch.sin(2 * math.pi * pitch * time) * ((time * beeps_a_second) % 1 < 0.6)


def _noise_burst(time: Tensor, draw: torch.Generator) -> Tensor:
    return 0.5 * torch.randn(len(time), generator=draw)


_MAKERS = (_low_tone, _rising_chirp, _fast_beeps, _noise_burst)


def _between(low: float, high: float, draw: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))
