"""From the images of a prompt to the pictures that a processor is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from PIL.Image import Image, Resampling

from modalign.core.content import content_hash
from modalign.modalities.image.decoding import decode_image, picture_key
from modalign.modalities.vision_language.medium import Medium
from modalign.modalities.vision_language.prompts import IMAGE


@runtime_checkable
class Opens(Protocol):
    """An image that makes its own picture, such as an `AlteredImage`."""

    def open(self) -> Image:
        """The RGB picture.

        Raises:
            RowError: What it is made from cannot be decoded.
        """

    def content_key(self) -> Any:
        """What decides the picture, as `content_hash` takes it."""


def open_image(image: Any, longest_side: int | None = None) -> Image:
    """The RGB picture of a `Media`, a PIL image, or an image that opens itself.

    Args:
        image: One of these.
        longest_side: Scale the picture down to this many pixels, where it is larger; None leaves it as it is.

    Raises:
        RowError: It is none of them, or cannot be decoded.
    """
    picture = image.open() if isinstance(image, Opens) else decode_image(image, any_shape=True)
    if longest_side is None or max(picture.size) <= longest_side:
        return picture
    return scaled(picture, longest_side / max(picture.size))


def image_key(image: Any) -> str:
    """A hash of what decides the picture of an image; a file's content is hashed as it is.

    Raises:
        RowError: It is no image, or cannot be read.
    """
    return content_hash(image) if isinstance(image, Opens) else picture_key(image)


def scaled(picture: Image, factor: float) -> Image:
    """The picture with its sides multiplied by a factor below 1; each keeps at least a pixel."""
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Resampling.BICUBIC)


@dataclass(frozen=True)
class Pictures(Medium):
    """The images of prompts.

    Args:
        longest_side: They are scaled down to so many pixels before the processor sees them; None for no limit.
        scale: Factor on their sides after that.
    """

    kind: ClassVar[str] = IMAGE

    longest_side: int | None = None
    scale: float = 1.0

    @property
    def settings(self) -> Sequence[Any]:
        """See `Medium.settings`."""
        return [self.scale, self.longest_side]

    def open(self, value: Any) -> Image:
        """See `open_image`."""
        picture = open_image(value, self.longest_side)
        return picture if self.scale == 1 else scaled(picture, self.scale)

    def key(self, value: Any) -> str:
        """See `image_key`."""
        return image_key(value)

    def arguments(self, prompts: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """See `Medium.arguments`; a list of pictures for each prompt."""
        return {"images": [list(pictures) for pictures in prompts]} if any(prompts) else {}

    def scaled(self, factor: float) -> "Pictures":
        """See `Medium.scaled`."""
        return replace(self, scale=factor)
