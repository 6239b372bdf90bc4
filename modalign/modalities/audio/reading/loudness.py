"""How loud a clip is, and another gain for it."""

import math
import warnings

import torch

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.audio.clip import Clip

SILENT = -70.0
"""Below this, in LUFS (the absolute gate of ITU-R BS.1770) or in decibels of full scale, a clip counts as silent."""

_BLOCK = 0.4
_MOST_CHANNELS = 5


def loudness_of(clip: Clip) -> float:
    """The integrated loudness in LUFS (ITU-R BS.1770-4), by pyloudnorm; minus infinity where the clip is silent.

    A clip shorter than the 0.4 seconds of a measured block is repeated up to that length.

    Raises:
        RowError: It has more than 5 channels, for which the loudness is not defined.
    """
    from pyloudnorm import Meter

    if clip.channels > _MOST_CHANNELS:
        raise RowError(
            f"the loudness is not defined: the sound has {clip.channels} channels", "Mix the file to stereo or mono."
        )
    samples = clip.samples.double()
    block = math.ceil(_BLOCK * clip.rate)
    if samples.shape[1] < block:
        samples = samples.repeat(1, -(-block // samples.shape[1]))[:, :block]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the logarithm of silence
        return float(Meter(clip.rate, block_size=_BLOCK).integrated_loudness(samples.T.numpy()))


def peak_of(clip: Clip) -> float:
    """The largest absolute sample."""
    return float(clip.samples.abs().max())


def check_gain(loudness: float | None, peak: float | None) -> None:
    """Refuse options of `normalised` that cannot act.

    Raises:
        ConfigError: Both are given, or one is out of range.
    """
    if loudness is not None and peak is not None:
        raise ConfigError("Both loudness and peak are given, and each decides the gain.", "Remove one of them.")
    if loudness is not None and not SILENT < loudness <= 0:
        raise ConfigError(f"loudness is {loudness}.", f"Give LUFS above {SILENT:g} and up to 0, such as -23.")
    if peak is not None and not 0 < peak <= 1:
        raise ConfigError(f"peak is {peak}.", "Give a number above 0 and up to 1, the full scale.")


def normalised(clip: Clip, loudness: float | None = None, peak: float | None = None) -> Clip:
    """A clip with one gain for all samples; silent clips are left alone, whose noise the gain would blow up.

    Args:
        clip: What to make louder or softer.
        loudness: Its integrated loudness afterwards, in LUFS. Samples may exceed full scale.
        peak: Its largest absolute sample afterwards.

    Raises:
        ConfigError: Both are given, or one is out of range.
        RowError: It has more than 5 channels, for which the loudness is not defined.
    """
    check_gain(loudness, peak)
    if loudness is not None:
        found = loudness_of(clip)
        gain = 10 ** ((loudness - found) / 20) if found > SILENT else 1.0
    elif peak is not None:
        highest = peak_of(clip)
        gain = peak / highest if highest > 10 ** (SILENT / 20) else 1.0
    else:
        return clip
    return Clip((clip.samples * gain).to(torch.float32), clip.rate)
