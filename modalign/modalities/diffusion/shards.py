"""Files of many records of tensors: written whole or not at all, never changed, read through memory maps."""

import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from modalign.core.errors import UserError

KEY_BYTES = 16
SUFFIX = ".safetensors"
OPEN_SHARDS = 64
SHARD_BYTES = 64 * 2**20
SECONDS_BETWEEN_SHARDS = 60.0
_KEYS = "keys"
_PARTIAL = ".partial"
_DAY = 24 * 3600


def write_shard(folder: Path, keys: Sequence[str], records: Sequence[Mapping[str, Tensor]]) -> Path:
    """Write records whose tensors agree in name, shape and dtype as one file with a name of its own.

    Args:
        folder: Exists.
        keys: One a record, 32 hexadecimal digits.
        records: On the CPU.

    Raises:
        UserError: The folder cannot be written.
    """
    stacked = {name: torch.stack([record[name] for record in records]) for name in records[0]}
    stacked[_KEYS] = torch.frombuffer(bytearray.fromhex("".join(keys)), dtype=torch.uint8).view(-1, KEY_BYTES)
    name = uuid4().hex
    partial, target = folder / f"{name}{_PARTIAL}", folder / f"{name}{SUFFIX}"
    try:
        try:
            with partial.open("wb") as file:
                file.write(save(stacked))
                file.flush()
                os.fsync(file.fileno())
            partial.rename(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"The cache folder {folder} cannot be written: {error.strerror or error}.",
            "Make room, or set modality.cache_folder to another one; what was finished is kept.",
        ) from error
    return target


def remove_partial(folder: Path) -> None:
    """Remove what killed processes left half written; a day is more than any shard takes."""
    for path in folder.glob(f"*{_PARTIAL}"):
        try:
            if time.time() - path.stat().st_mtime > _DAY:
                path.unlink()
        except FileNotFoundError:
            continue


class ShardWriter:
    """Gathers records and writes a shard whenever enough have come, or a minute has passed.

    A context manager: what is left is written at its end, also where an error or an interrupt ends it.

    Args:
        folder: Exists.
        shard_bytes: Of a full shard.
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._shard_bytes = folder, shard_bytes
        self._waiting: dict[str, list[tuple[str, Mapping[str, Tensor]]]] = {}
        self._bytes = 0
        self._since = time.monotonic()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def add(self, key: str, record: Mapping[str, Tensor]) -> None:
        """Take one record; it is safe on disk after the next `flush`."""
        form = str([(name, tensor.shape, tensor.dtype) for name, tensor in sorted(record.items())])
        self._waiting.setdefault(form, []).append((key, record))
        self._bytes += record_bytes(record)
        if self._bytes >= self._shard_bytes or time.monotonic() - self._since > SECONDS_BETWEEN_SHARDS:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered, a shard a form of record."""
        for entries in self._waiting.values():
            write_shard(self._folder, [key for key, _ in entries], [record for _, record in entries])
        self._waiting, self._bytes, self._since = {}, 0, time.monotonic()


class ShardReader:
    """Reads records through a bounded number of open files."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, Any] = OrderedDict()

    def keys(self, path: Path) -> bytes:
        """The keys of a shard, 16 bytes each, in the order of its records.

        Raises:
            SafetensorError: The file is damaged.
            OSError: It cannot be read.
        """
        with safe_open(path, framework="pt") as file:
            return bytes(file.get_tensor(_KEYS).numpy().tobytes())

    def record(self, path: Path, row: int) -> dict[str, Tensor]:
        """One record, copied out of the map.

        Raises:
            SafetensorError: The file is damaged.
            OSError: It cannot be read.
        """
        file = self._file(path)
        return {name: file.get_slice(name)[row].clone() for name in file.keys() if name != _KEYS}  # noqa: SIM118

    def _file(self, path: Path) -> Any:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        self._open[path] = safe_open(path, framework="pt").__enter__()  # type: ignore[no-untyped-call]
        if len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)[1].__exit__(None, None, None)
        return self._open[path]


def record_bytes(record: Mapping[str, Tensor]) -> int:
    """How many bytes a record's tensors take."""
    return sum(tensor.nbytes for tensor in record.values())
