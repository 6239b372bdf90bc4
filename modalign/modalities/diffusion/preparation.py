"""Filling the disk caches of latents and prompt encodings, their cost told before it begins."""

import shutil
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from modalign.core.ahead import computed_ahead, progress
from modalign.core.batch import Comparison
from modalign.core.errors import UserError
from modalign.modalities.diffusion.frozen_cache import FrozenCache, prompt_key
from modalign.modalities.diffusion.frozen_outputs import Record
from modalign.modalities.diffusion.shards import KEY_BYTES, record_bytes
from modalign.modalities.diffusion.survey import Lack, Survey
from modalign.modalities.diffusion.tensor_store import Keys

if TYPE_CHECKING:
    from modalign.modalities.diffusion.encoded_modality import EncodedModality

PROMPTS = "prompts"
SECONDS_UNTIL_SEEN = 90.0
"""How long another rank's files may take to be seen: network disks remember a folder's content for up to a minute."""

Entries = Iterator[tuple[str, Record]]


class Preparation:
    """Encodes what the caches lack of some data, one medium and one prompt at a time.

    In larger batches the same medium would get other last bits, and the cached latents would not equal live ones.

    Args:
        modality: Decodes and encodes.
        cache: What is filled.
        comparisons: May be iterated more than once.
        device: Where to encode.

    Raises:
        RowError: A medium cannot be read; the message names its row.
    """

    def __init__(
        self,
        modality: "EncodedModality",
        cache: FrozenCache,
        comparisons: Iterable[Comparison],
        device: torch.device,
    ) -> None:
        self._modality, self._cache, self._device = modality, cache, device
        self._told = [line for store in cache.stores for line in _removed(store.remove_broken())]
        self._survey = Survey(modality, cache, comparisons)
        self._bytes = {lack.store.folder: self._bytes_each(what) for what, lack in self._lacks()}

    def cost(self) -> list[str]:
        """What is there and what is not, with the bytes that will be written."""
        return self._told + [self._line(what, lack) for what, lack in self._lacks()]

    def run(self) -> None:
        """Encode what is missing; each rank its share.

        Raises:
            UserError: The disk is too small, or cannot be written.
            RowError: A medium cannot be decoded; the message names its row.
        """
        if not any(len(lack.missing) for _, lack in self._lacks()):
            return
        self._check_room()
        for what, lack in self._lacks():
            own = _share(lack.missing)
            with lack.store.writer() as writer, progress(len(own), f"Encoding {what}") as advance:
                for key, record in self._entries(what, own):
                    writer.add(key, {name: values.cpu() for name, values in record.items()})
                    advance()
        self._cache.describe()
        family = self._modality.family
        family.place((*family.media_parts, *family.text_parts), torch.device("cpu"))
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def check_complete(self) -> None:
        """Make sure, once all ranks of a distributed run have run, that this one finds what the others encoded.

        Raises:
            UserError: It does not: the ranks write to different disks.
        """
        if rank_and_world()[1] == 1:
            return
        end = time.monotonic() + SECONDS_UNTIL_SEEN
        while any((left := self._left()).values()) and time.monotonic() < end:
            time.sleep(1)
        if not any(left.values()):
            return
        counts = " and ".join(f"{count:,} {what}" for what, count in left.items() if count)
        raise UserError(
            f"{counts} that other processes of this run have encoded are not in {self._cache.folder} of this machine.",
            "Set modality.cache_folder to a folder on a disk that all machines share, or run `modalign cache` with "
            "this config on each machine first, which fills its own.",
        )

    def _left(self) -> dict[str, int]:
        """How much of what was missing is missing still."""
        return {what: len(lack.store.missing(lack.missing)) for what, lack in self._lacks()}

    def _lacks(self) -> list[tuple[str, Lack]]:
        media = self._survey.media
        name = f"{self._modality.media_name} (mirrored ones too)" if self._modality.flip else self._modality.media_name
        return [*([(name, media)] if media is not None else []), (PROMPTS, self._survey.prompts)]

    def _entries(self, what: str, keys: Keys) -> Entries:
        return self._prompts(keys) if what == PROMPTS else self._media(keys)

    def _media(self, keys: Keys) -> Entries:
        store = self._cache.latents
        for decoded in computed_ahead(self._survey.media_of(keys)):
            for key, cell in decoded:
                if store is not None and key in store:  # another run was faster
                    continue
                assert cell.media is not None
                record = self._modality.encode_medium(cell.media.to(self._device))
                yield key, {**record, "numbers": torch.tensor(cell.numbers, dtype=torch.float32)}

    def _prompts(self, keys: Keys) -> Entries:
        for prompt in self._survey.prompts_of(keys):
            if not self._cache.has_prompt(prompt):
                yield prompt_key(prompt), self._modality.encode_prompt(prompt, self._device)

    def _bytes_each(self, what: str) -> int:
        """The bytes of one missing record, by making one: all media take as much, no prompt more than the longest."""
        missing = dict(self._lacks())[what].missing
        if what == PROMPTS:
            longest = max(self._survey.prompts_of(missing), key=len, default=None)
            return 0 if longest is None else record_bytes(self._modality.encode_prompt(longest, self._device))
        return next((record_bytes(record) for _, record in self._entries(what, missing)), 0)

    def _line(self, what: str, lack: Lack) -> str:
        count, each, folder = len(lack.missing), self._bytes[lack.store.folder], lack.store.folder
        if not count:
            return f"cache: all {lack.total:,} {what} are encoded, in {folder}"
        there = f" of {lack.total:,}" if count < lack.total else ""
        most = "at most " if what == PROMPTS else ""
        size = f"{most}{size_text(each)} each, {size_text(each * count)} in all"
        return f"cache: {count:,}{there} {what} to encode, {size}, in {folder}"

    def _check_room(self) -> None:
        needed = sum(self._bytes[lack.store.folder] * len(lack.missing) for _, lack in self._lacks())
        folder = self._cache.text.folder
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"The cache needs {size_text(needed)}, and the disk of {folder} has {size_text(free)} free.",
                "Set modality.cache_folder to a larger disk, or modality.cache: off.",
            )


def _share(keys: Keys) -> Keys:
    """This rank's keys: by their own value, whatever else is in the list, which ranks may have made at other times."""
    rank, world = rank_and_world()
    numbers = np.frombuffer(keys.tobytes(), dtype=">u8")[:: KEY_BYTES // 8]
    own: Keys = keys[numbers % world == rank]
    return own


def wait_for_ranks(device: torch.device) -> None:
    """Return when every process of a distributed run has come here; at once where there is one process."""
    if rank_and_world()[1] > 1:
        on_gpu = torch.distributed.get_backend() == "nccl" and device.index is not None
        torch.distributed.barrier(device_ids=[device.index] if on_gpu else None)


def rank_and_world() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)


def _removed(paths: Iterable[object]) -> list[str]:
    return [f"cache: {path} was damaged and is removed; what it held is computed again" for path in paths]


def size_text(count: int) -> str:
    """A number of bytes, for people."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"
