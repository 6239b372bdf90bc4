"""Another sound: the sound played backwards."""

from typing import ClassVar

from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.variants.base import SampleVariant


class Backwards(SampleVariant):
    """The last sample comes first, so that the order of events has to be heard."""

    name: ClassVar[str] = "backwards"

    def alter(self, clip: Clip, key: str) -> Clip:
        return Clip(clip.samples.flip(1), clip.rate)
