"""A decoded sound."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Clip:
    """Samples, and how many of them make a second.

    What a policy of sounds generates; what the data holds is `Media`, not decoded yet.

    Attributes:
        samples: `(channels, frames)` float32, finite, at least one frame; full scale is 1, and may be exceeded.
        rate: Frames a second.
    """

    samples: Tensor
    rate: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples.shape[1] / self.rate

    @property
    def channels(self) -> int:
        """1 for mono, 2 for stereo."""
        return self.samples.shape[0]
