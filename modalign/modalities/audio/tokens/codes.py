"""The disk cache of codes: what the frozen codec makes of a sound is computed once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modalign.core.ahead import computed_ahead, progress
from modalign.core.batch import Comparison
from modalign.core.content import content_hash, weights_hash
from modalign.modalities.audio.reading.reader import sound_key
from modalign.modalities.audio.tokens.family import TokenFamily
from modalign.modalities.diffusion.encoder_identity import remembered_identity
from modalign.modalities.diffusion.preparation import rank_and_world, size_text
from modalign.modalities.diffusion.survey import placed
from modalign.modalities.diffusion.tensor_store import TensorStore

CODES_VERSION = 1
"""To be raised when the same sound and codec give other codes; part of the key of all that is kept."""


class CodeCache:
    """Codes by the content of their sounds.

    Args:
        folder: Holds a folder for every codec and setting.
        about: What, beside a sound, decides its codes.
        frames: The most of any sound; every record has room for them, so that all have one form.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], frames: int) -> None:
        self.frames = frames
        self.store = TensorStore(folder / f"codes-{content_hash(about)}")

    def __contains__(self, key: str) -> bool:
        return key in self.store

    def read(self, key: str) -> Tensor:
        """`(T, K)` codes of a sound that is there.

        Raises:
            UserError: They have gone since.
        """
        record = self.store.read(key)
        return record["codes"][: int(record["frames"])].long()

    def record(self, codes: Tensor) -> dict[str, Tensor]:
        """What is kept of `(T, K)` codes."""
        kept = torch.zeros(self.frames, codes.shape[1], dtype=torch.int32)
        kept[: len(codes)] = codes
        return {"codes": kept, "frames": torch.tensor(len(codes), dtype=torch.int32)}


def codec_identity(family: TokenFamily, load: Callable[[], Any], folder: Path) -> str:
    """A hash of a codec's configuration and weights, which costs a look at its files where these are as they were.

    Args:
        family: Knows the files.
        load: Loads the codec, where they are not.
        folder: Of all caches.
    """
    files = [path for path in family.codec_files() if path.is_file()]
    return remembered_identity(
        folder / "encoders", files, {"codec of": type(family).__qualname__}, lambda: weights_hash(load())
    )


class CodePreparation:
    """Computes the codes that a cache lacks of some data, one sound at a time.

    Args:
        cache: What is filled.
        comparisons: May be iterated more than once.
        decode: Reads a response.
        encode: Makes its codes, on the device that they are to be computed on.

    Raises:
        RowError: A sound cannot be read; the message names its row.
    """

    def __init__(
        self,
        cache: CodeCache,
        comparisons: Iterable[Comparison],
        decode: Callable[[Any], Tensor],
        encode: Callable[[Tensor], Tensor],
    ) -> None:
        self._cache, self._comparisons = cache, comparisons
        self._decode, self._encode = decode, encode
        self._removed = cache.store.remove_broken()
        keys = dict.fromkeys(key for key, _, _ in self._sounds())
        self._total = len(keys)
        self._missing = {key for key in keys if key not in cache}

    def cost(self, codebooks: int) -> list[str]:
        """What is there and what is not, with the bytes that will be written."""
        told = [f"cache: {path} was damaged and is removed; what it held is computed again" for path in self._removed]
        missing, folder = len(self._missing), self._cache.store.folder
        if not missing:
            return [*told, f"cache: the codes of all {self._total:,} sounds are there, in {folder}"]
        there = f" of {self._total:,}" if missing < self._total else ""
        size = size_text(missing * 4 * self._cache.frames * codebooks)
        return [*told, f"cache: {missing:,}{there} sounds to turn into codes, {size} in all, in {folder}"]

    def run(self) -> None:
        """Compute what is missing; each rank its share.

        Raises:
            UserError: The cache cannot be written.
            RowError: A sound cannot be decoded; the message names its row.
        """
        rank, world = rank_and_world()
        own = {key for key in self._missing if int(key[:8], 16) % world == rank}
        if not own:
            return
        with self._cache.store.writer() as writer, progress(len(own), "Turning sounds into codes") as advance:
            for key, samples in computed_ahead(self._decoding(own)):
                writer.add(key, self._cache.record(self._encode(samples).cpu()))
                advance()

    def _decoding(self, keys: set[str]) -> Iterator[Callable[[], tuple[str, Tensor]]]:
        """For each key, what decodes the first sound that has it."""
        left = set(keys)
        for key, response, comparison in self._sounds():
            if key in left:
                left.discard(key)
                yield partial(self._decoded, key, response, comparison)

    def _decoded(self, key: str, response: Any, comparison: Comparison) -> tuple[str, Tensor]:
        with placed(comparison):
            return key, self._decode(response)

    def _sounds(self) -> Iterator[tuple[str, Any, Comparison]]:
        for comparison in self._comparisons:
            for candidate in comparison.candidates:
                with placed(comparison):
                    key = sound_key(candidate.response)
                yield key, candidate.response, comparison
