"""A sound as a picture: its mel spectrogram, low pitches at the bottom, time from left to right."""

import warnings
from math import log2
from typing import Any

import torch
from torch import Tensor

from modalign.modalities.audio.clip import Clip

BANDS = 64
RANGE = 80.0
"""How many decibels below full scale are black."""

_WINDOW = 0.064
"""Seconds that one column of the spectrogram looks at."""

_COLOURS = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
"""From silence to full scale: five colours of matplotlib's magma, between which lightness grows evenly."""

_NOTHING = (225, 225, 225)


def mel_picture(clip: Clip, width: int, height: int, seconds: float | None = None) -> Any:
    """A PIL image of a clip's mel spectrogram in decibels of full scale, its channels averaged.

    Every picture has the same scale of loudness, from full scale down to `RANGE` below it.

    Args:
        clip: What is shown.
        width: Of `seconds`, in pixels.
        height: Of all pitches up to half the clip's rate, in pixels.
        seconds: What the width stands for; None for the clip's own length. What is beyond the clip is grey.
    """
    from PIL import Image

    share = min(clip.seconds / seconds, 1.0) if seconds else 1.0
    levels = _decibels(clip).flip(0)
    size = max(round(width * share), 1), height
    pixels = _coloured(((levels + RANGE) / RANGE).clamp(0, 1))
    picture = Image.new("RGB", (width, height), _NOTHING)
    picture.paste(Image.fromarray(pixels.numpy()).resize(size, Image.Resampling.BILINEAR), (0, 0))
    return picture


def _decibels(clip: Clip) -> Tensor:
    """`(BANDS, columns)`: 0 is a sine at full scale in one band."""
    from torchaudio.transforms import MelSpectrogram

    length = 2 ** round(log2(_WINDOW * clip.rate))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero values")
        mel = MelSpectrogram(clip.rate, length, hop_length=max(length // 4, 1), n_mels=BANDS, power=2.0)
    samples = clip.samples.float().mean(0)
    if len(samples) <= length // 2:  # reflecting at the ends needs more
        samples = torch.nn.functional.pad(samples, (0, length // 2 + 1 - len(samples)))
    of_sine = (length / 4) ** 2  # half the sum of a Hann window, squared
    decibels: Tensor = 10 * torch.log10(mel(samples) / of_sine + 1e-12)
    return decibels


def _coloured(shares: Tensor) -> Tensor:
    """`(H, W, 3)` uint8 of `(H, W)` shares from 0 to 1."""
    table = torch.tensor(_COLOURS, dtype=torch.float32)
    place = shares * (len(table) - 1)
    lower = place.floor().clamp(max=len(table) - 2).long()
    mixed = torch.lerp(table[lower], table[lower + 1], (place - lower)[..., None])
    return mixed.round().to(torch.uint8).contiguous()
