"""A folder of records of tensors by key, which several processes may read and fill at once."""

import os
import time
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from modalign.core.errors import UserError
from modalign.modalities.diffusion.shards import (
    KEY_BYTES,
    SHARD_BYTES,
    SUFFIX,
    ShardReader,
    ShardWriter,
    remove_partial,
)

Keys = NDArray[np.bytes_]
"""Keys of 16 bytes, for many of which Python objects would be too large."""

_SETTLED = 2 * 10**9
"""After how many nanoseconds a folder's time of change can be trusted: two changes may have one time."""


class TensorStore:
    """Records by key, each a mapping of names to tensors.

    A shard is written under a temporary name and renamed, so that a killed process leaves only whole ones, and has a
    name of its own, so that two processes never write the same file. Records of one key are equal by construction: two
    processes that compute the same one waste time, and nothing else. The index takes 24 bytes a record.

    Args:
        folder: Where; made when something is written.

    Attributes:
        broken: Shards that cannot be read, as far as is known. Their records count as missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broken: set[Path] = set()
        self._reader = ShardReader()
        self._shards: list[Path] = []
        self._known: set[str] = set()
        self._keys: Keys = np.empty(0, dtype=f"S{KEY_BYTES}")
        self._places = np.empty((0, 2), dtype=np.int32)
        self._seen = -1
        self._lock = Lock()  # several threads may look a key up

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        TensorStore.__init__(self, **state)

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def __len__(self) -> int:
        self._refresh()
        return len(self._keys)

    def missing(self, keys: Keys) -> Keys:
        """Those of the keys that have no record, sorted and without repeats."""
        self._refresh()
        wanted = np.unique(keys)
        return wanted[~np.isin(wanted, self._keys, assume_unique=True)]

    def read(self, key: str) -> dict[str, Tensor]:
        """One record.

        Raises:
            UserError: There is none, or its file is damaged.
        """
        place = self._find(key)
        if place is None:
            raise UserError(
                f"The cache in {self.folder} has lost a record that it had when this run started.",
                "Start the run again; what is missing is computed anew.",
            )
        path = self._shards[place[0]]
        try:
            return self._reader.record(path, place[1])
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"The cache file {path} cannot be read: {error}.", "Delete it; its records are computed anew."
            ) from error

    def writer(self, shard_bytes: int = SHARD_BYTES) -> ShardWriter:
        """What writes new records.

        Raises:
            UserError: The folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_partial(self.folder)
        except OSError as error:
            raise UserError(
                f"The cache folder {self.folder} cannot be made: {error.strerror or error}.",
                "Set modality.cache_folder to one that can.",
            ) from error
        return ShardWriter(self.folder, shard_bytes)

    def remove_broken(self) -> list[Path]:
        """Delete the shards that cannot be read, and say which."""
        self._refresh()
        removed = sorted(self.broken)
        for path in removed:
            path.unlink(missing_ok=True)
        self.broken.clear()
        return removed

    def _find(self, key: str) -> tuple[int, int] | None:
        """The number of its shard and its row there; looks at the folder again where it has changed."""
        wanted = np.array(bytes.fromhex(key), dtype=self._keys.dtype)
        with self._lock:
            return self._place(wanted) or (self._place(wanted) if self._refresh() else None)

    def _place(self, wanted: Keys) -> tuple[int, int] | None:
        place = int(np.searchsorted(self._keys, wanted))
        if place == len(self._keys) or self._keys[place] != wanted:
            return None
        shard, row = self._places[place].tolist()
        return shard, row

    def _refresh(self) -> bool:
        """Read the keys of new shards; False where the folder has not changed."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UserError(
                f"The cache folder {self.folder} cannot be read: {error.strerror or error}.",
                "Set modality.cache_folder to one that can.",
            ) from error
        if changed == self._seen:
            return False
        self._seen = changed if time.time_ns() - changed > _SETTLED else -1
        names = sorted(entry.name for entry in os.scandir(self.folder) if entry.name.endswith(SUFFIX))
        self._add([name for name in names if name not in self._known])
        return True

    def _add(self, names: list[str]) -> None:
        keys, places = [self._keys], [self._places]
        for name in names:
            self._known.add(name)
            path = self.folder / name
            try:
                found: Keys = np.frombuffer(self._reader.keys(path), dtype=self._keys.dtype)
            except FileNotFoundError:  # removed since by another process
                continue
            except SafetensorError:
                self.broken.add(path)
                continue
            except OSError as error:
                raise UserError(f"The cache file {path} cannot be read: {error}.", "Check its rights.") from error
            rows = np.arange(len(found), dtype=np.int32)
            keys.append(found)
            places.append(np.stack([np.full_like(rows, len(self._shards)), rows], axis=1))
            self._shards.append(path)
        if len(keys) > 1:
            together = np.concatenate(keys)
            order = np.argsort(together, kind="stable")
            self._keys, self._places = together[order], np.concatenate(places)[order]


def packed(keys: bytes | bytearray) -> Keys:
    """Keys of 16 bytes, one after another, as an array."""
    return np.frombuffer(bytes(keys), dtype=f"S{KEY_BYTES}")
