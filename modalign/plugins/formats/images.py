"""Reading an image from a row, however it is written there: a path, bytes, text that encodes bytes, a decoded image."""

import base64
import binascii
import io
import re
from collections.abc import Mapping
from os.path import normpath
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError
from modalign.core.fetched import FetchedMedia
from modalign.core.media import Media
from modalign.plugins.formats.values import required, shown, text

_FORMS = (
    "Write a path (from the folder of the data file, or of the format's root), the bytes of a file, a mapping with "
    "`bytes` or `path`, or base64 text."
)
_DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FETCHED = re.compile(r"https?://[^\s/]", re.IGNORECASE)
# How base64 text of JPEG, PNG, WebP and GIF files begins. A path may too, so length and letters are looked at as well.
_ENCODED = re.compile(r"(?:/9j/|iVBORw0KGgo|UklGR|R0lGOD)[A-Za-z0-9+/\s]{80,}={0,2}\s*")

_CONTENT = frozenset({"prompt", "chosen", "rejected", "completion", "completions"})
_FILE = re.compile(r"\S+\.(?:jpe?g|png|webp|avif|gif|bmp|tiff?)", re.IGNORECASE)
_NAMES = re.compile(r"(?:other_|retrieved_|rejected_)?(?:images?|img)(?:_paths?|_\d)?", re.IGNORECASE)


def image(row: Mapping[str, Any], column: str, root: str | None = None) -> Media:
    """The image of a column that every row must have.

    Raises:
        RowError: It is missing, or no image.
    """
    return as_image(required(row, column), column, root)


def as_image(value: Any, column: str, root: str | None = None, allow_urls: bool | None = None) -> Media:
    """A value as an image, not decoded; whether its file exists and holds one is seen when it is encoded.

    Args:
        value: What the row holds.
        column: Where, for messages.
        root: The folder that relative paths start from; the folder of the data file where None.
        allow_urls: Whether images may be fetched from http and https addresses; None where no option can allow it.

    Raises:
        RowError: It is no image.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return _filled(bytes(value), "", column)
    if isinstance(value, Mapping):
        return _stored(value, column, root, allow_urls)
    if isinstance(value, str):
        return _written(text(value, column), column, root, allow_urls)
    if is_decoded(value):
        return Media(data=_encoded(value, column))
    raise RowError(f"not an image: {shown(value)}", _FORMS, column)


def image_columns(columns: Mapping[str, Any]) -> list[str]:
    """The columns that by their names or values hold images beside whatever else a row holds."""
    return [
        name for name, value in columns.items() if _means_images(str(name), value) or _shows_images(str(name), value)
    ]


def looks_like_image(value: Any) -> bool:
    """Whether a value is meant as an image, whatever is wrong with it."""
    stored = isinstance(value, Mapping) and bool({"bytes", "path"} & set(value))
    return stored or isinstance(value, str | bytes | bytearray | memoryview) or is_decoded(value)


def looks_like_images(value: Any) -> bool:
    """Whether a value is meant as several images."""
    return isinstance(value, list) and bool(value) and all(map(looks_like_image, value))


def _means_images(name: str, value: Any) -> bool:
    """Whether a column is called so and not empty, whatever is wrong with its value."""
    return _NAMES.fullmatch(name) is not None and value not in (None, "", [], False)


def _shows_images(name: str, value: Any) -> bool:
    """Whether a value is one or several images by itself; what is asked and answered may name a file."""
    if isinstance(value, list):
        return bool(value) and all(_shows_images(name, item) for item in value)
    if name in _CONTENT:
        return False
    stored = isinstance(value, Mapping) and "bytes" in value
    return stored or is_decoded(value) or (isinstance(value, str) and _FILE.fullmatch(value) is not None)


def is_decoded(value: Any) -> bool:
    """Whether a value is a PIL image; told without importing PIL, which data of text does not need."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__)


def same_image(first: Media, second: Media) -> bool:
    """Whether two images are known to be one: the same bytes, or the same path."""
    if first.data is not None or second.data is not None:
        return first.data == second.data
    return normpath(first.path) == normpath(second.path)


def _stored(value: Mapping[str, Any], column: str, root: str | None, allow_urls: bool | None) -> Media:
    """An image as the `datasets` library stores it: a mapping with its bytes, its path or both."""
    content, path = value.get("bytes"), value.get("path")
    if content is None and path is None:
        there = ", ".join(map(str, value)) or "nothing"
        raise RowError(f"not an image: a mapping with neither bytes nor a path, but {there}", _FORMS, column)
    if path is not None and not isinstance(path, str):
        raise RowError(f"not a path: {shown(path)}", _FORMS, column)
    if content is None:
        return _written(text(path, column), column, root, allow_urls)
    if not isinstance(content, bytes | bytearray | memoryview):
        raise RowError(f"not bytes: {shown(content)}", _FORMS, column)
    return _filled(bytes(content), path or "", column)


def _written(value: str, column: str, root: str | None, allow_urls: bool | None) -> Media:
    header = _DATA_URI.match(value)
    if header or _ENCODED.fullmatch(value):
        return _filled(_decoded(value[header.end() if header else 0 :], column), "", column)
    if not value.strip() or "\0" in value:
        raise RowError(f"no image: {shown(value)}", "Fill the path in, or remove the row.", column)
    if value.lower().startswith("data:"):
        raise RowError(f"not an image: {shown(value)}", "Write data:image/png;base64,... or a path.", column)
    if _URL.match(value):
        return _remote(value, column, allow_urls)
    return Media(value if root is None else str(Path(root).expanduser().absolute() / value))


def _remote(url: str, column: str, allow_urls: bool | None) -> Media:
    if allow_urls and _FETCHED.match(url):
        return FetchedMedia(url)
    if allow_urls:
        raise RowError(f"a URL that is not fetched: {shown(url)}", "Only http and https are; give a path.", column)
    permit = "" if allow_urls is None else ", or permit fetching with the format's allow_urls: true"
    raise RowError(
        f"a URL: {shown(url)}; nothing is fetched while training",
        f"Fetch the images first, and write their paths or their bytes into the rows{permit}.",
        column,
    )


def _decoded(encoded: str, column: str) -> bytes:
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError(f"not valid base64: {error}", "Encode the image again, or remove the row.", column) from None


def _filled(content: bytes, path: str, column: str) -> Media:
    if not content:
        raise RowError("no image: it has no bytes", "Fill it in, or remove the row.", column)
    return Media(path, content)


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
