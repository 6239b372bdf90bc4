"""Power over time and frequency, for rewards that look at sounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalign.modalities.audio.rewards.heard import Samples

_EULER = 0.5772156649015329
NOISE_FLATNESS = float(np.exp(-_EULER))
"""Expected flatness of a single spectrum of white noise: its powers are exponentially distributed."""
_FLOOR = 1e-20
_AT_ONCE = 1024
"""Frames whose samples are in memory at once."""
_LAG = 4
"""Frames from one to the next that shares no sample with it, where they overlap by three quarters."""
_AROUND = 7
"""Frames to either side whose movement counts for a frame: more than a jump from one tone to another reaches."""


@dataclass(frozen=True)
class Spectrogram:
    """Power of frames that overlap.

    Attributes:
        power: `(frames, bins)`; what lies at one frequency adds up to its mean square.
        frequencies: `(bins,)` in hertz.
        times: `(frames,)`: the middle of each frame in seconds.
    """

    power: Samples
    frequencies: Samples
    times: Samples


def spectrogram(samples: Samples, rate: int, length: float = 0.032, hop: float = 0.008) -> Spectrogram:
    """The power of Hann-windowed frames; a sound shorter than a frame is followed by silence.

    Args:
        samples: `(N,)` with N at least 1.
        rate: Samples a second.
        length: Of a frame, in seconds.
        hop: From one frame to the next, in seconds.
    """
    size, step = max(round(length * rate), 4), max(round(hop * rate), 1)
    padded = np.pad(samples, (0, max(size - len(samples), 0)))
    window = np.hanning(size + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::step]
    blocks = (frames[start : start + _AT_ONCE] for start in range(0, len(frames), _AT_ONCE))
    squares = np.concatenate([np.abs(np.fft.rfft(block * window)) ** 2 for block in blocks])
    power: Samples = np.multiply(squares, 2 / (size * (window**2).sum()), dtype=np.float64)
    times = (np.arange(len(frames)) * step + size / 2) / rate
    return Spectrogram(power, np.fft.rfftfreq(size, 1 / rate).astype(np.float64), times)


def flatness(power: Samples) -> Samples:
    """Geometric by arithmetic mean over the last axis: 1 where all are equal, 0 where there is nothing.

    Args:
        power: `(..., bins)`, none negative.
    """
    mean = power.mean(axis=-1)
    geometric = np.exp(np.log(power / np.maximum(mean, _FLOOR)[..., None] + _FLOOR).mean(axis=-1))
    flat: Samples = np.where(mean > _FLOOR, np.minimum(geometric, 1), 0.0)
    return flat


def speeds(found: Spectrogram, inside: NDArray[np.bool_], active: NDArray[np.bool_]) -> Samples:
    """How fast the strongest frequency moves: the median around each frame, so that a jump is no movement.

    Args:
        found: Of frames that overlap by three quarters.
        inside: `(bins,)`: where the strongest frequency is sought.
        active: `(frames,)`: those whose strongest frequency counts; the others' is not looked at.

    Returns:
        `(frames,)` in octaves a second, none negative; 0 where too few frames around are active to tell.
    """
    moved: Samples = np.zeros(len(found.times))
    if len(found.times) <= _LAG:
        return moved
    octaves = np.where(active, np.log2(_strongest(found, inside)), np.nan)
    steps = (octaves[_LAG:] - octaves[:-_LAG]) / (found.times[_LAG:] - found.times[:-_LAG])
    padded = np.pad(steps, _LAG // 2 + _AROUND, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1)
    told = np.isfinite(around).any(axis=-1)
    moved[told] = np.abs(np.nanmedian(around[told], axis=-1))
    return moved


def _strongest(found: Spectrogram, inside: NDArray[np.bool_]) -> Samples:
    """The frequency of each frame's peak, between bins by the parabola through it and its neighbours in decibels."""
    places = np.clip(np.where(inside, found.power, -1).argmax(axis=-1), 1, len(found.frequencies) - 2)
    frames = np.arange(len(places))
    below, peak, above = (np.log(found.power[frames, places + by] + _FLOOR) for by in (-1, 0, 1))
    bend = np.minimum(below - 2 * peak + above, -_FLOOR)
    between = np.clip((below - above) / (2 * bend), -0.5, 0.5)
    strongest: Samples = (places + between) * found.frequencies[1]
    return strongest
