"""Pairs of images: the better and the worse one for a prompt."""

from typing import ClassVar

from modalign.modalities.image.formats.base import ImageFormat
from modalign.plugins.formats.media.pairs import MediaPairs


class ImagePairs(MediaPairs, ImageFormat):
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
    chosen_names = ("chosen", "chosen_image", "image_chosen", "chosen_path", "chosen_file_name", "winner")
    rejected_names = ("rejected", "rejected_image", "image_rejected", "rejected_path", "rejected_file_name", "loser")

    def __init__(
        self,
        prompt: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(root, weight, prompt=prompt, chosen=chosen, rejected=rejected)
