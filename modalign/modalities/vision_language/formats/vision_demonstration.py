"""Responses to imitate, as TRL has them for vision: `messages`, or `prompt` and `completion`, with `images`."""

from collections.abc import Sequence
from typing import ClassVar

from modalign.modalities.vision_language.formats.base import VisionFormat
from modalign.modalities.vision_language.formats.demonstration import MediaDemonstration
from modalign.modalities.vision_language.formats.vision_preference import IMAGES


class VisionDemonstration(MediaDemonstration, VisionFormat):
    """`messages`, or `prompt` and `completion` (text or conversations), and `images`, a list, or `image`.

    Of `messages`, the last one is the response and all before it the prompt: earlier answers are not learned. Images
    are placed as for `vision_preference`.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        completion: The column with the response, where it is called otherwise.
        messages: The column with the conversation, where it is called otherwise.
        images: The column with the image or the images, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "vision_demonstration"
    wants: ClassVar[str] = "messages, or prompt and completion; images or image; and no label, chosen or rejected"

    def __init__(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        messages: str | None = None,
        images: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root, allow_urls, weight, prompt=prompt, completion=completion, messages=messages, images=images
        )

    def called(self, before: str = "") -> Sequence[str]:
        """See `MediaPromptFormat.called`."""
        return IMAGES
