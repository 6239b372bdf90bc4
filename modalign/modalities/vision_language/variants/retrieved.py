"""The other image that the data brings along."""

from collections.abc import Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import RowError
from modalign.modalities.vision_language.variants.base import ImageVariant

OTHER_IMAGES = "other_images"


class Retrieved(ImageVariant):
    """A column's images, such as the neighbour that Re-Align retrieves and SymMPO's second image."""

    name: ClassVar[str] = "retrieved"

    def images(self, comparison: Comparison, images: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        """See `ImageVariant.images`."""
        found: Sequence[Any] = comparison.extra.get(OTHER_IMAGES) or ()
        if len(found) != len(images):
            there = f"{len(found)} other images for {len(images)}" if found else "no other image"
            raise RowError(
                f"the row has {there}, and the objective compares the prompt's own with another",
                "Use data with other images (the formats realign, symmpo and vision_preference read them), or make "
                "them: model.modality.other_image cropped, noised, black or swapped.",
            )
        return found
