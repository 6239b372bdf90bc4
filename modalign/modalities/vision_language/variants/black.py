"""No image at all."""

from typing import ClassVar

from PIL import Image

from modalign.modalities.vision_language.variants.base import PixelVariant


class Black(PixelVariant):
    """A picture of the same size in which every pixel is 0 (V-DPO, arXiv 2411.02712)."""

    name: ClassVar[str] = "black"

    def alter(self, picture: Image.Image, key: str) -> Image.Image:
        """See `PixelVariant.alter`."""
        return Image.new("RGB", picture.size)
