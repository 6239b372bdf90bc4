"""Files on the web: fetched when they are first read, and kept on disk."""

import os
import tempfile
import time
from dataclasses import dataclass
from hashlib import blake2b
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from modalign.core.errors import RowError
from modalign.core.media import Media

SILENCE = 30.0
LONGEST = 120.0
"""Seconds that a server may say nothing, and that a file may take in all."""

MAX_BYTES = 64 << 20
_BLOCK = 1 << 16
_CURE = "Try again, fetch the file by hand, or leave the row out with on_bad_row: skip."


@dataclass(frozen=True)
class FetchedMedia(Media):
    """A file at an http or https address, which is its `path`.

    It is fetched once: the copy in `fetched` of the folder `MODALIGN_CACHE`, or of `~/.cache/modalign`, is kept until
    somebody removes it, so that every epoch and every process sees the same content.
    """

    def located(self, folder: Path) -> Media:
        return self

    def open(self) -> BinaryIO:
        """The copy of the content.

        Raises:
            RowError: It cannot be fetched, takes too long, or is too large or empty.
        """
        copy = _folder() / blake2b(self.path.encode(), digest_size=16).hexdigest()
        try:
            if not copy.exists():
                _keep(_fetch(self.path), copy)
            return copy.open("rb")
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise RowError(f"cannot be fetched: {self.path!r}: {reason or type(error).__name__}", _CURE) from None


def _folder() -> Path:
    return Path(os.environ.get("MODALIGN_CACHE") or Path.home() / ".cache" / "modalign") / "fetched"


def _fetch(url: str) -> bytes:
    """What an address holds.

    Raises:
        OSError: It cannot be had, or not in time.
        RowError: It is too large or empty.
    """
    deadline = time.monotonic() + LONGEST
    content = bytearray()
    with _opener().open(Request(url, headers={"User-Agent": "modalign"}), timeout=SILENCE) as answer:
        while block := answer.read1(_BLOCK):
            content += block
            if len(content) > MAX_BYTES:
                raise RowError(f"cannot be fetched: {url!r} holds more than {MAX_BYTES} bytes", "Remove the row.")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {LONGEST:g} seconds")
        if answer.length:
            raise OSError(f"it breaks off {answer.length} bytes before its end")
    if not content:
        raise RowError(f"cannot be fetched: {url!r} is empty", "Remove the row.")
    return bytes(content)


def _opener() -> OpenerDirector:
    """Opens http and https, and nothing else, wherever it is redirected: urllib's own opens files and ftp too."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        UnknownHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPDefaultErrorHandler,
        HTTPRedirectHandler,
        HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _keep(content: bytes, copy: Path) -> None:
    """Under a name of its own first, so that a copy that exists is whole and two processes do not meet."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=copy.parent, prefix=f"{copy.name}.", delete=False) as partial:
        try:
            partial.write(content)
            partial.close()
            os.replace(partial.name, copy)
        except BaseException:
            os.unlink(partial.name)
            raise
