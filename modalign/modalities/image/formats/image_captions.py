"""Images with captions, to imitate: the data of supervised fine-tuning."""

from typing import ClassVar

from modalign.modalities.image.formats.base import ImageFormat
from modalign.plugins.formats.media.captions import MediaCaptions


class ImageCaptions(MediaCaptions, ImageFormat):
    """`prompt` (or `caption`, `text`) with one `image` (or `image_path`, `file_name`, `jpg`, `png`, ...).

    An image is a path, the bytes of a file, a mapping with either, or base64 text.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        image: The column with the image, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
    """

    name = "image_captions"
    wants: ClassVar[str] = "prompt (or caption), text; image (or file_name, jpg, png); no label, chosen or rejected"

    def __init__(
        self,
        prompt: str | None = None,
        image: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(root, weight, prompt=prompt, image=image)
