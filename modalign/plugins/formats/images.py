"""Reading an image from a row, however it is written there: a path, bytes, text that encodes bytes, a decoded image."""

import io
import re
from collections.abc import Mapping
from typing import Any

from modalign.core.errors import RowError
from modalign.plugins.formats.media.columns import media_columns
from modalign.plugins.formats.media.kind import MediaKind

_FILE = re.compile(r"\S+\.(?:jpe?g|png|webp|avif|gif|bmp|tiff?)", re.IGNORECASE)
_NAMES = re.compile(r"(?:other_|retrieved_|rejected_)?(?:images?|img)(?:_paths?|_\d)?", re.IGNORECASE)


def image_columns(columns: Mapping[str, Any]) -> list[str]:
    """The columns that by their names or values hold images beside whatever else a row holds."""
    return media_columns(columns, _NAMES, _FILE, is_decoded, unnamed_bytes=True)


def is_decoded(value: Any) -> bool:
    """Whether a value is a PIL image; told without importing PIL, which data of text does not need."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__)


def _encoded(value: Any, column: str) -> bytes:
    """A decoded image as PNG, which loses nothing of it."""
    buffer = io.BytesIO()
    try:
        value.save(buffer, format="PNG")
    except (OSError, ValueError) as error:
        raise RowError(
            f"not an image that can be kept: {error}", "Convert it to RGB, or store its file's bytes.", column
        ) from None
    return buffer.getvalue()


IMAGE = MediaKind(
    name="image",
    named="an image",
    type="image",
    example="png",
    # JPEG, PNG, WebP and GIF.
    encoded=re.compile(r"(?:/9j/|iVBORw0KGgo|UklGR|R0lGOD)[A-Za-z0-9+/\s]{80,}={0,2}\s*"),
    forms=(
        "Write a path (from the folder of the data file, or of the format's root), the bytes of a file, a mapping with "
        "`bytes` or `path`, or base64 text."
    ),
    is_decoded=is_decoded,
    encode=_encoded,
)
"""Images, as rows write them."""

as_image, looks_like_image, looks_like_images = IMAGE.read, IMAGE.looks_like, IMAGE.looks_like_several
