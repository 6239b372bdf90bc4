"""Pairs of images: the better and the worse one for a prompt."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.modalities.image.formats.base import ImageFormat
from modalign.plugins.formats.images import looks_like_image

CHOSEN_NAMES = ("chosen", "chosen_image", "image_chosen", "chosen_path", "chosen_file_name", "winner")
REJECTED_NAMES = ("rejected", "rejected_image", "image_rejected", "rejected_path", "rejected_file_name", "loser")


class ImagePairs(ImageFormat):
    """`prompt` (or `caption`) with the images `chosen` and `rejected` (or `chosen_image`, `winner`, ...).

    An image is a path, the bytes of a file, a mapping with either, or base64 text.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        chosen: The column with the better image, where it is called otherwise.
        rejected: The column with the other image, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
    """

    name = "image_pairs"
    wants: ClassVar[str] = "prompt (or caption), text; chosen and rejected, images"

    def __init__(
        self,
        prompt: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(root, weight, prompt=prompt, chosen=chosen, rejected=rejected)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        images = [columns.get(name) for name in self._columns(columns)]
        return self.has_prompt(columns) and all(map(looks_like_image, images))

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        columns = self._columns(row)
        chosen, rejected = (self.image(row, column) for column in columns)
        return [self.pair(row, chosen, rejected, columns)]

    def _columns(self, row: Mapping[str, Any]) -> tuple[str, str]:
        return self.column(row, "chosen", CHOSEN_NAMES), self.column(row, "rejected", REJECTED_NAMES)
