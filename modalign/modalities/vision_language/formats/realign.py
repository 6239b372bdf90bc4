"""Re-Align (arXiv 2502.13146): pairs with the image that their rejected response was made from."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.errors import RowError
from modalign.modalities.vision_language.formats.base import OTHER_IMAGES
from modalign.modalities.vision_language.formats.vision_preference import VisionPreference
from modalign.plugins.formats.chat import looks_like_content
from modalign.plugins.formats.images import looks_like_image, looks_like_images


class Realign(VisionPreference):
    """`image`, `retrieved_image`, `chosen` and `rejected`: conversations that begin with the prompt, or answers to one.

    What `build realign` writes and what the authors publish. Everything is read, and may be named, as
    `vision_preference` does; a row without a retrieved image is refused.
    """

    name = "realign"
    wants: ClassVar[str] = "image; retrieved_image; chosen and rejected, conversations; prompt, unless both begin so"

    def matches(self, columns: Mapping[str, Any]) -> bool:
        images = [columns.get(name) for name in ("image", "retrieved_image")]
        has_images = all(looks_like_image(image) or looks_like_images(image) for image in images)
        return has_images and all(looks_like_content(columns.get(side)) for side in (CHOSEN, REJECTED))

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        pairs = super().parse(row)
        if not pairs[0].extra.get(OTHER_IMAGES):
            raise RowError(
                "no retrieved image: the row has none to compare with",
                "Fill it in, or read the rows as vision_preference, where it may be missing.",
                self.named.get(OTHER_IMAGES, "retrieved_image"),
            )
        return pairs
