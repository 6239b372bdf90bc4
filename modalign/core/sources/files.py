"""Bytes of local files: decompression, random access, and the offsets of rows."""

import gzip
import os
import shutil
import tempfile
import zlib
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from modalign.core.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, decompressing it on the way if its name ends in .gz."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a text file, with their ends.

    Raises:
        UserError: The file is UTF-16, a broken archive, or cannot be read.
    """
    try:
        with open_bytes(path) as file:
            for number, line in enumerate(file):
                if number == 0 and line.startswith(UTF_16_MARKS):
                    raise UserError(f"{path} is UTF-16 text.", "Save it as UTF-8.")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}", "Fetch it again if it is damaged.") from error


def unpacked(path: Path) -> Path:
    """The file itself, or for a .gz file a decompressed copy, made once and kept until the original changes.

    Copies are kept in `unpacked` in the folder `MODALIGN_CACHE`, or in `~/.cache/modalign`.

    Raises:
        UserError: The archive is broken, or the copy cannot be written.
    """
    if path.suffix != ".gz":
        return path
    status = path.stat()
    version = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    name = f"{blake2b(version.encode(), digest_size=12).hexdigest()}-{path.stem}"
    folder = Path(os.environ.get("MODALIGN_CACHE") or Path.home() / ".cache" / "modalign") / "unpacked"
    copy = folder / name
    if not copy.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _unpack(path, copy)
        except (OSError, EOFError, zlib.error) as error:
            cure = f"Fetch the file again if it is damaged; check the room in {folder} (MODALIGN_CACHE moves it)."
            raise UserError(f"{path} cannot be decompressed: {error}", cure) from error
    return copy


def _unpack(path: Path, copy: Path) -> None:
    """Under a name of its own first, so that a copy that exists is whole and two processes do not meet."""
    with tempfile.NamedTemporaryFile(dir=copy.parent, prefix=f"{copy.name}.", delete=False) as partial:
        try:
            with gzip.open(path) as packed:
                shutil.copyfileobj(packed, partial, 1 << 20)
            partial.close()
            os.replace(partial.name, copy)
        except BaseException:
            os.unlink(partial.name)
            raise


class Spans:
    """Parts of a file, found by their offsets: 8 bytes of memory a part.

    Args:
        path: An uncompressed file.
        offsets: Where each part starts, and where the last one ends.
    """

    def __init__(self, path: Path, offsets: "array[int]") -> None:
        self.path = path
        self.offsets = offsets
        self._version = _version(path)
        self._descriptor: int | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        """The bytes of one part.

        Raises:
            UserError: The file is gone or was changed since its offsets were taken.
        """
        start, end = self.offsets[index], self.offsets[index + 1]
        if self._descriptor is None:
            self._descriptor = self._open()
        # Reading at an offset shares no position, so forked workers and threads may use one descriptor.
        return os.pread(self._descriptor, end - start, start)

    def _open(self) -> int:
        try:
            changed = _version(self.path) != self._version
        except FileNotFoundError:
            changed = True
        if changed:
            raise UserError(f"{self.path} was changed or removed while in use.", "Start the run again.")
        return os.open(self.path, os.O_RDONLY)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_descriptor": None}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
