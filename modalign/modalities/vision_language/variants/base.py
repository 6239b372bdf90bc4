"""The contract of an image variant."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from PIL.Image import Image

from modalign.core.batch import Comparison


class ImageVariant(ABC):
    """Says which images take the place of a prompt's own where a response is judged under the other image.

    What it draws must be a pure function of the run's seed and of the images, so that policy and reference, every
    epoch and a resumed run see the same, and a cached reference stays valid.

    Attributes:
        name: The short name it is registered under.
        needs_other_row: Whether `images` must be handed another row.
    """

    name: ClassVar[str]
    needs_other_row: ClassVar[bool] = False

    @abstractmethod
    def images(self, comparison: Comparison, images: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        """The images that take the place of a prompt's own: as many, as `Media`, PIL or `AlteredImage`.

        Args:
            comparison: Whose prompt it is; `extra["other_images"]` holds those that the data brings along.
            images: The prompt's own, at least one, not decoded.
            other: Another row of the data, with another prompt; None unless `needs_other_row`.

        Raises:
            RowError: There are none to take.
        """


class PixelVariant(ImageVariant):
    """A variant that changes each image's pixels, when it is decoded."""

    def images(self, comparison: Comparison, images: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        """See `ImageVariant.images`."""
        from modalign.modalities.vision_language.variants.altered import AlteredImage

        return [AlteredImage(image, self) for image in images]

    @abstractmethod
    def alter(self, picture: Image, key: str) -> Image:
        """The picture changed, of the same size.

        Args:
            picture: RGB.
            key: A hash of its content, to draw by.
        """
