"""Another rate, another number of channels."""

from math import gcd

import torch
from torch import Tensor

from modalign.core.errors import RowError
from modalign.modalities.audio.clip import Clip

_WIDTH = 64
"""Zero crossings on each side of the filter; torchaudio's own 6 are 25 dB less exact near the end of the band."""

_LARGEST_KERNEL = 2**24
"""torchaudio holds a filter for each phase; for rates with hardly a common divisor, such as 44101 and 16000, they
would fill gigabytes."""


def resampled(clip: Clip, rate: int) -> Clip:
    """A clip at another rate: `ceil(frames * rate / clip.rate)` frames, band-limited to the lower of both rates."""
    if rate == clip.rate:
        return clip
    common = gcd(rate, clip.rate)
    up, down = rate // common, clip.rate // common
    if up * (down + 2 * _WIDTH * max(down / up, 1)) > _LARGEST_KERNEL:
        return Clip(_by_polyphase(clip.samples, up, down), rate)
    from torchaudio.functional import resample

    return Clip(resample(clip.samples, clip.rate, rate, lowpass_filter_width=_WIDTH), rate)


def with_channels(clip: Clip, channels: int) -> Clip:
    """A clip in mono or stereo: a mean of all channels is mono, and mono twice is stereo.

    Raises:
        RowError: It has more than two channels, and not one is wanted: which of them is left is not known.
    """
    if clip.channels == channels:
        return clip
    if channels == 1:
        return Clip(clip.samples.mean(0, keepdim=True), clip.rate)
    if clip.channels == 1:
        return Clip(clip.samples.repeat(channels, 1), clip.rate)
    raise RowError(
        f"the sound has {clip.channels} channels: {channels} are wanted, and how to mix them is not known",
        f"Mix the file to {channels} channels or to mono.",
    )


def _by_polyphase(samples: Tensor, up: int, down: int) -> Tensor:
    from scipy.signal import resample_poly

    return torch.from_numpy(resample_poly(samples.double().numpy(), up, down, axis=1)).float()
