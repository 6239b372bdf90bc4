"""Single responses with a label, as TRL has them for vision: thumbs up or down."""

from collections.abc import Sequence
from typing import ClassVar

from modalign.modalities.vision_language.formats.base import VisionFormat
from modalign.modalities.vision_language.formats.unpaired import MediaUnpaired
from modalign.modalities.vision_language.formats.vision_preference import IMAGES


class VisionUnpaired(MediaUnpaired, VisionFormat):
    """`prompt` and `completion`, text or conversations; `label`, true or false; and `images`, a list, or `image`.

    Images are placed as for `vision_preference`.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        completion: The column with the response, where it is called otherwise.
        label: The column with the label, where it is called otherwise.
        images: The column with the image or the images, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "vision_unpaired"
    wants: ClassVar[str] = "prompt and completion, text or conversations; label, true or false; images or image"

    def __init__(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        label: str | None = None,
        images: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(root, allow_urls, weight, prompt=prompt, completion=completion, label=label, images=images)

    def called(self, before: str = "") -> Sequence[str]:
        """See `MediaPromptFormat.called`."""
        return IMAGES
