"""A small part of an image in place of the whole."""

from math import exp, log, sqrt
from random import Random
from typing import ClassVar

from PIL.Image import Image, Resampling

from modalign.core.errors import ConfigError
from modalign.core.keys import key_seed, run_seed
from modalign.modalities.vision_language.variants.base import PixelVariant


class Cropped(PixelVariant):
    """A random part of the picture, scaled up to its size (mDPO, arXiv 2406.11839).

    Area, shape and place are drawn as torchvision's `RandomResizedCrop` draws them; a part that would not fit into the
    picture is cut to it. An image's part is the same in every epoch.

    Args:
        min_area: The smallest share of the picture's area, above 0; 0.01 in the paper's code.
        max_area: The largest, at most 1; 0.2 in the paper's code.
        max_ratio: How many times one side may be as long as the other, at least 1.

    Raises:
        ConfigError: An option is out of its range.
    """

    name: ClassVar[str] = "cropped"

    def __init__(self, min_area: float = 0.01, max_area: float = 0.2, max_ratio: float = 4 / 3) -> None:
        if not 0 < min_area <= max_area <= 1:
            raise ConfigError(
                f"The image variant cropped has min_area {min_area} and max_area {max_area}.",
                "Give shares of the picture: above 0, at most 1, the smaller one first.",
            )
        if not 1 <= max_ratio < float("inf"):
            raise ConfigError(f"The image variant cropped has max_ratio {max_ratio}.", "Give a number of at least 1.")
        self.min_area, self.max_area, self.max_ratio = min_area, max_area, max_ratio

    def alter(self, picture: Image, key: str) -> Image:
        """See `PixelVariant.alter`."""
        box = self.box(picture.size, Random(key_seed(run_seed(), self.name, key)))
        return picture.resize(picture.size, Resampling.BILINEAR, box)

    def box(self, size: tuple[int, int], draw: Random) -> tuple[int, int, int, int]:
        """Left, upper, right and lower edge of a part of a picture, in pixels."""
        area = size[0] * size[1] * draw.uniform(self.min_area, self.max_area)
        ratio = exp(draw.uniform(-log(self.max_ratio), log(self.max_ratio)))
        width, height = (
            min(max(round(side), 1), whole)
            for side, whole in zip((sqrt(area * ratio), sqrt(area / ratio)), size, strict=True)
        )
        left, upper = draw.randint(0, size[0] - width), draw.randint(0, size[1] - height)
        return left, upper, left + width, upper + height
