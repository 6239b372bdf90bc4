"""The images of another row."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import RowError
from modalign.modalities.vision_language.prompts import images_of
from modalign.modalities.vision_language.variants.base import ImageVariant


class Swapped(ImageVariant):
    """Another row's images, which are not this row's; repeated where this row has more of them."""

    name: ClassVar[str] = "swapped"
    needs_other_row: ClassVar[bool] = True

    def images(self, comparison: Comparison, images: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        """See `ImageVariant.images`."""
        theirs = images_of(other.prompt) if other is not None else []
        if not theirs:
            raise RowError("there is no other row with an image to swap with", "Use data with several images.")
        return list(islice(cycle(theirs), len(images)))
