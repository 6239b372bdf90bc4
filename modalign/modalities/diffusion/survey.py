"""What a data set needs of the disk caches, and what they lack."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modalign.core.batch import Comparison
from modalign.core.errors import RowError
from modalign.modalities.diffusion.cells import DiffusionCell, RowChoices
from modalign.modalities.diffusion.frozen_cache import FrozenCache, medium_key, prompt_key
from modalign.modalities.diffusion.tensor_store import Keys, TensorStore, packed

if TYPE_CHECKING:
    from modalign.modalities.diffusion.encoded_modality import EncodedModality

Shown = list[tuple[str, DiffusionCell]]
"""Keys of records, and the cells whose media they are encoded from."""


@dataclass(frozen=True)
class Lack:
    """What one store lacks.

    Attributes:
        store: Which.
        total: How many records the data needs of it.
        missing: The keys of those that are not there, sorted.
    """

    store: TensorStore
    total: int
    missing: Keys


class Survey:
    """Looks through comparisons, which it iterates once for each thing it is asked.

    Args:
        modality: Says what is encoded of a comparison.
        cache: What is looked into.
        comparisons: May be iterated more than once.

    Attributes:
        media: What the store of latents lacks; None where media are not encoded.
        prompts: What the store of prompt encodings lacks.

    Raises:
        RowError: A medium cannot be read; the message names its row.
    """

    def __init__(self, modality: "EncodedModality", cache: FrozenCache, comparisons: Iterable[Comparison]) -> None:
        self._modality, self._cache, self._comparisons = modality, cache, comparisons
        media, prompts = bytearray(), bytearray.fromhex(prompt_key(""))  # a dropped caption is ""
        for comparison in comparisons:
            with placed(comparison):
                for candidate in comparison.candidates:
                    prompts += bytes.fromhex(prompt_key(modality.cell_prompt(comparison, candidate)))
                    if cache.latents is not None:
                        media += bytes.fromhex("".join(self._keys(candidate.response)))
        self.prompts = _lack(cache.text, prompts)
        self.media = None if cache.latents is None else _lack(cache.latents, media)

    def media_of(self, keys: Keys) -> Iterator[Callable[[], Shown]]:
        """For each medium that some of the keys are of, what decodes it."""
        pending = _Pending(keys)
        for comparison in self._comparisons if len(keys) else ():
            for candidate in comparison.candidates:
                with placed(comparison):
                    both = self._keys(candidate.response)
                wanted = [side for side, key in enumerate(both) if pending.take(key)]
                if wanted:
                    yield _Decoding(self._modality, comparison, candidate.response, both[0], wanted)

    def prompts_of(self, keys: Keys) -> Iterator[str]:
        """The prompts that the keys are of."""
        pending = _Pending(keys)
        if pending.take(prompt_key("")):
            yield ""
        for comparison in self._comparisons if len(keys) else ():
            for candidate in comparison.candidates:
                prompt = self._modality.cell_prompt(comparison, candidate)
                if pending.take(prompt_key(prompt)):
                    yield prompt

    def _keys(self, response: Any) -> list[str]:
        return self._cache.medium_keys(self._modality.medium_key(response))


@dataclass(frozen=True)
class _Decoding:
    """Decodes one medium, and mirrors it where that is wanted."""

    modality: "EncodedModality"
    comparison: Comparison
    response: Any
    key: str
    sides: list[int]

    def __call__(self) -> Shown:
        with placed(self.comparison):
            media, numbers = self.modality.decode(self.response)
        cell = DiffusionCell(self.key, "", numbers, media)
        choices = [RowChoices(flipped=side == 1, dropped=False, place=(0.0, 0.0)) for side in self.sides]
        return [(medium_key(self.key, each.flipped), self.modality.show(cell, each)) for each in choices]


class _Pending:
    """Keys that are to be met once each."""

    def __init__(self, keys: Keys) -> None:
        self._keys, self._met = keys, np.zeros(len(keys), dtype=bool)

    def take(self, key: str) -> bool:
        """Whether it is among them, and asked for the first time."""
        wanted = np.array(bytes.fromhex(key), dtype=self._keys.dtype)
        place = int(np.searchsorted(self._keys, wanted))
        if place == len(self._keys) or self._keys[place] != wanted or self._met[place]:
            return False
        self._met[place] = True
        return True


def _lack(store: TensorStore, keys: bytearray) -> Lack:
    wanted = np.unique(packed(keys))
    return Lack(store, len(wanted), store.missing(wanted))


@contextmanager
def placed(comparison: Comparison) -> Iterator[None]:
    """Tells errors of a row where they happened."""
    try:
        yield
    except RowError as error:
        raise error.at(comparison.source, comparison.row) from None
