"""Another image: the picture as a mirror shows it."""

from typing import ClassVar

from PIL import Image, ImageOps

from modalign.modalities.vision_language.variants.base import PixelVariant


class Mirrored(PixelVariant):
    """Left and right change places, so that where a thing is has to be looked up."""

    name: ClassVar[str] = "mirrored"

    def alter(self, picture: Image.Image, key: str) -> Image.Image:
        return ImageOps.mirror(picture)
