"""What the formats of images share."""

from typing import ClassVar

from modalign.plugins.formats.images import IMAGE
from modalign.plugins.formats.media.base import MediaFormat
from modalign.plugins.formats.media.kind import MediaKind

IMAGES = ("image", "image_path", "file_name", "jpg", "jpeg", "png", "webp")


class ImageFormat(MediaFormat):
    """A format whose responses are images and whose prompts are text."""

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    kind: ClassVar[MediaKind] = IMAGE
    option: ClassVar[str] = "image"
    known: ClassVar[tuple[str, ...]] = IMAGES
