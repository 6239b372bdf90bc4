"""An image whose pixels a variant changes when it is decoded."""

from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from modalign.core.keys import run_seed
from modalign.modalities.image.decoding import decode_image, picture_key
from modalign.modalities.vision_language.variants.base import PixelVariant


@dataclass(frozen=True)
class AlteredImage:
    """What a `PixelVariant` makes of an image; nothing is decoded before `open`.

    Attributes:
        image: A `Media` or a PIL image.
        variant: Changes it.
    """

    image: Any
    variant: PixelVariant

    def open(self) -> Image:
        """The changed picture, RGB and of the image's size.

        Raises:
            RowError: The image cannot be read or decoded.
        """
        return self.variant.alter(decode_image(self.image, any_shape=True), picture_key(self.image))

    def content_key(self) -> tuple[Any, ...]:
        """What decides its pixels.

        Raises:
            RowError: The image cannot be read.
        """
        variant = type(self.variant)
        options = {name: repr(value) for name, value in vars(self.variant).items()}
        return f"{variant.__module__}.{variant.__qualname__}", options, run_seed(), picture_key(self.image)
