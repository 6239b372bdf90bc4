"""Single images with a label: thumbs up or down."""

from typing import ClassVar

from modalign.modalities.image.formats.base import ImageFormat
from modalign.plugins.formats.media.thumbs import MediaThumbs


class ImageThumbs(MediaThumbs, ImageFormat):
    """`prompt` (or `caption`), one `image` and `label`: true for good, false for bad (or 1 and 0).

    Where columns have types, text is never a label: "false" counts as true in Python. In CSV and in the text members of
    webdataset shards, "true", "false", "1" and "0" are labels.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        image: The column with the image, where it is called otherwise.
        label: The column with the label, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
    """

    name = "image_thumbs"
    wants: ClassVar[str] = "prompt (or caption), text; image (or file_name, jpg, png); label, true or false"

    def __init__(
        self,
        prompt: str | None = None,
        image: str | None = None,
        label: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(root, weight, prompt=prompt, image=image, label=label)
