"""No sound at all."""

from typing import ClassVar

import torch

from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.variants.base import SampleVariant


class Silent(SampleVariant):
    """A clip of the same length in which every sample is 0."""

    name: ClassVar[str] = "silent"

    def alter(self, clip: Clip, key: str) -> Clip:
        """See `SampleVariant.alter`."""
        return Clip(torch.zeros_like(clip.samples), clip.rate)
