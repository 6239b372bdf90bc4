"""From files to samples as a codec takes them."""

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from torch import Tensor

from modalign.core.errors import RowError
from modalign.modalities.audio.reading.decoders import naming
from modalign.modalities.audio.reading.reader import read_clip, sound_info
from modalign.modalities.audio.reading.resampling import resampled, with_channels

Long = Literal["cut", "error"]

_MARGIN = 0.1
"""How many seconds more are read than are kept, since a filter that ends with the sound sees silence after it."""


@dataclass(frozen=True)
class SoundReader:
    """Reads sounds, or their beginnings.

    Attributes:
        rate: Samples a second.
        channels: 1 or 2.
        hop: Samples a frame of codes.
        frames: The most frames of a sound.
        long: What becomes of longer ones: `cut` takes their beginning, `error` refuses them.
    """

    rate: int
    channels: int
    hop: int
    frames: int
    long: Long

    def is_whole(self, response: Any) -> bool:
        """Whether all of a sound is read; its header alone is looked at.

        Raises:
            RowError: It is too long, and `long` is `error`; or it is no sound.
        """
        info = sound_info(response)
        whole = ceil(info.frames * self.rate / info.rate) <= self.frames * self.hop
        if not whole and self.long == "error":
            with naming(response):
                raise RowError(
                    f"the sound is too long: {info.seconds:.3f} seconds, and {self.frames * self.hop / self.rate:.3f} "
                    "are the most",
                    "Remove the row, raise modality.seconds, or set modality.long: cut.",
                )
        return whole

    def read(self, response: Any) -> Tensor:
        """`(channels, samples)` of a sound, of at most `frames` frames.

        Raises:
            RowError: It cannot be used.
        """
        most = self.frames * self.hop
        clip = read_clip(response, seconds=most / self.rate + _MARGIN)
        with naming(response):
            clip = with_channels(clip, self.channels)
        return resampled(clip, self.rate).samples[:, :most].contiguous()
