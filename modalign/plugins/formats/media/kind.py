"""How rows write images and sounds: a path, the bytes of a file, text that encodes bytes, a mapping with either."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError
from modalign.core.fetched import FetchedMedia
from modalign.core.media import Media, MediaSlice
from modalign.plugins.formats.values import required, shown, text

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FETCHED = re.compile(r"https?://[^\s/]", re.IGNORECASE)


@dataclass(frozen=True)
class MediaKind:
    """Images, or sounds.

    Attributes:
        name: What one is called.
        named: The same with its article.
        type: What `data:` URIs of it begin with.
        example: A type of file, for messages.
        encoded: How base64 text of its files begins; a path may begin so too, so length and letters belong to it.
        forms: How it may be written, for messages.
        is_decoded: Whether a value is one that is decoded already.
        encode: The bytes of a file that keeps all of a decoded one; gets its column for messages.
    """

    name: str
    named: str
    type: str
    example: str
    encoded: re.Pattern[str]
    forms: str
    is_decoded: Callable[[Any], bool]
    encode: Callable[[Any, str], bytes]

    def of(self, row: Mapping[str, Any], column: str, root: str | None = None) -> Media:
        """What a column holds that every row must have.

        Raises:
            RowError: It is missing, or of another kind.
        """
        return self.read(required(row, column), column, root)

    def read(self, value: Any, column: str, root: str | None = None, allow_urls: bool | None = None) -> Media:
        """A value, not decoded; whether its file exists and holds what it should is seen when it is encoded.

        Args:
            value: What the row holds.
            column: Where, for messages.
            root: The folder that relative paths start from; the folder of the data file where None.
            allow_urls: Whether http and https addresses may be fetched; None where no option can allow it.

        Raises:
            RowError: It is of another kind.
        """
        if self.is_decoded(value):
            path = value.get("path") if isinstance(value, Mapping) else None
            return Media(path if isinstance(path, str) else "", self.encode(value, column))
        if isinstance(value, bytes | bytearray | memoryview):
            return self._filled(bytes(value), "", column)
        if isinstance(value, Mapping):
            return self._stored(value, column, root, allow_urls)
        if isinstance(value, str):
            return self._written(text(value, column), column, root, allow_urls)
        raise RowError(f"not {self.named}: {shown(value)}", self.forms, column)

    def looks_like(self, value: Any) -> bool:
        """Whether a value is meant as one, whatever is wrong with it."""
        stored = isinstance(value, Mapping) and bool({"bytes", "path"} & set(value))
        return stored or isinstance(value, str | bytes | bytearray | memoryview) or self.is_decoded(value)

    def looks_like_several(self, value: Any) -> bool:
        """Whether a value is meant as a list of them."""
        return isinstance(value, list) and bool(value) and all(map(self.looks_like, value))

    def _stored(self, value: Mapping[str, Any], column: str, root: str | None, allow_urls: bool | None) -> Media:
        """One as the `datasets` library stores it: a mapping with its bytes, its path or both."""
        content, path = value.get("bytes"), value.get("path")
        if content is None and path is None:
            there = ", ".join(map(str, value)) or "nothing"
            problem = f"not {self.named}: a mapping with neither bytes nor a path, but {there}"
            raise RowError(problem, self.forms, column)
        if path is not None and not isinstance(path, str):
            raise RowError(f"not a path: {shown(path)}", self.forms, column)
        if content is None:
            return self._written(text(path, column), column, root, allow_urls)
        if not isinstance(content, bytes | bytearray | memoryview):
            raise RowError(f"not bytes: {shown(content)}", self.forms, column)
        return self._filled(bytes(content), path or "", column)

    def _written(self, value: str, column: str, root: str | None, allow_urls: bool | None) -> Media:
        header = re.match(rf"data:{self.type}/[\w.+-]+;base64,", value, re.IGNORECASE)
        if header or self.encoded.fullmatch(value):
            return self._filled(self._decoded(value[header.end() if header else 0 :], column), "", column)
        if not value.strip() or "\0" in value:
            raise RowError(f"no {self.name}: {shown(value)}", "Fill the path in, or remove the row.", column)
        if value.lower().startswith("data:"):
            cure = f"Write data:{self.type}/{self.example};base64,... or a path."
            raise RowError(f"not {self.named}: {shown(value)}", cure, column)
        if _URL.match(value):
            return self._remote(value, column, allow_urls)
        return Media(value if root is None else str(Path(root).expanduser().absolute() / value))

    def _remote(self, url: str, column: str, allow_urls: bool | None) -> Media:
        if allow_urls and _FETCHED.match(url):
            return FetchedMedia(url)
        if allow_urls:
            raise RowError(f"a URL that is not fetched: {shown(url)}", "Only http and https are; give a path.", column)
        permit = "" if allow_urls is None else ", or permit fetching with the format's allow_urls: true"
        raise RowError(
            f"a URL: {shown(url)}; nothing is fetched while training",
            f"Fetch the {self.name}s first, and write their paths or their bytes into the rows{permit}.",
            column,
        )

    def _decoded(self, encoded: str, column: str) -> bytes:
        try:
            return base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            cure = f"Encode the {self.name} again, or remove the row."
            raise RowError(f"not valid base64: {error}", cure, column) from None

    def _filled(self, content: bytes, path: str, column: str) -> Media:
        if not content:
            raise RowError(f"no {self.name}: it has no bytes", "Fill it in, or remove the row.", column)
        return Media(path, content)


def same_media(first: Media, second: Media) -> bool:
    """Whether two are known to be one: the same bytes, or the same path, and the same slice of it."""
    if _slice(first) != _slice(second):
        return False
    if first.data is not None or second.data is not None:
        return first.data == second.data
    return normpath(first.path) == normpath(second.path)


def _slice(media: Media) -> tuple[float, float | None]:
    return (media.start, media.seconds) if isinstance(media, MediaSlice) else (0.0, None)
