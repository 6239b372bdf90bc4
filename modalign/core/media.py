"""Images and sounds as data holds them: a file, or the bytes of one, not decoded yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from modalign.core.errors import RowError


@dataclass(frozen=True)
class Media:
    """One file's content.

    Attributes:
        path: Where it is; relative to the folder of the file whose row names it until `located` has made it absolute.
        data: The content itself, where the row holds it; `path` then only names it in messages.
    """

    path: str = ""
    data: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.path

    def read(self) -> bytes:
        """The content.

        Raises:
            RowError: The file is missing, empty or cannot be read.
        """
        with self.open() as file:
            try:
                return file.read()
            except OSError as error:
                raise self._unreadable(error) from None

    def open(self) -> BinaryIO:
        """The content as a file, for readers that want a part of it.

        Raises:
            RowError: The file is missing, empty or cannot be read.
        """
        try:
            file = self._opened()
            is_empty = not file.read(1)
            file.seek(0)
        except OSError as error:
            raise self._unreadable(error) from None
        if is_empty:
            file.close()
            raise RowError(
                f"a file is empty: {self.path or 'the one in the row'!r}", "Remove the row, or mend the file."
            )
        return file

    def _opened(self) -> BinaryIO:
        if self.data is not None:
            return BytesIO(self.data)
        path = Path(self.path)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError("it is no file but a pipe or a device")  # one has no end, or waits for somebody to write
        return path.open("rb")

    def _unreadable(self, error: OSError) -> RowError:
        return RowError(
            f"a file cannot be read: {self.path!r}: {error.strerror or error}",
            "Give a path that exists, absolute or relative to the folder of the data file.",
        )

    def located(self, folder: Path) -> "Media":
        """The same, a relative path taken from `folder`."""
        if self.data is not None or Path(self.path).is_absolute():
            return self
        return replace(self, path=str(folder / Path(self.path).expanduser()))


@dataclass(frozen=True)
class MediaSlice(Media):
    """A part of a sound.

    `read` and `open` give the whole file: what `start` and `seconds` cut out is seen when it is decoded.

    Attributes:
        start: Seconds from the beginning of the file.
        seconds: How long the part is; None for all the rest.
    """

    start: float = 0.0
    seconds: float | None = None

    def __str__(self) -> str:
        """The path with the part as a media fragment of the W3C: `a.wav#t=1.5,4`."""
        end = "" if self.seconds is None else f",{self.start + self.seconds:g}"
        return f"{self.path}#t={self.start:g}{end}"


def files_of(value: Any) -> Iterator[Media]:
    """Every `Media` in a value, however nested."""
    if isinstance(value, Media):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from files_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from files_of(item)


def located(value: Any, folder: Path) -> Any:
    """The same value, with every relative path of a `Media` in it, however nested, taken from `folder`."""
    if isinstance(value, Media):
        return value.located(folder)
    if isinstance(value, Mapping):
        return {key: located(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(located(item, folder) for item in value)
    return value
