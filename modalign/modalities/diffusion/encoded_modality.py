"""Modalities whose media and prompts go through frozen encoders first, live or from a disk cache."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from modalign.core.batch import Candidate, Comparison, Example, PreferenceBatch
from modalign.core.modality import Modality
from modalign.modalities.diffusion.cells import DiffusionCell, RowChoices
from modalign.modalities.diffusion.collation import cell_inputs, encoded_inputs
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.frozen_cache import FrozenCache, open_cache
from modalign.modalities.diffusion.frozen_outputs import (
    CacheOptions,
    Record,
    medium_record,
    prompt_record,
)
from modalign.modalities.diffusion.loading import PipelineSource, family_class, load_family
from modalign.modalities.diffusion.preparation import Preparation, wait_for_ranks
from modalign.modalities.prompts import text_prompt

_OPENING = Lock()
"""Held while a cache is opened, so that several threads do not load the encoders to identify them."""


class EncodedModality(Modality):
    """The frozen half of a diffusion modality: a pipeline without its denoiser.

    Args:
        source: The pipeline.
        family: The registered family; None for the one that serves the pipeline's class.
        guidance: See `DiffusionFamily`.
        flip: Whether media are mirrored at random.
        outputs: Whether and how what the encoders make is kept; None for neither keeping nor rounding it.

    Attributes:
        media_name: What media are called in messages.
    """

    media_name: ClassVar[str] = "media"
    has_lengths: ClassVar[bool] = False

    def __init__(
        self,
        source: PipelineSource,
        family: str | None = None,
        guidance: float | None = None,
        flip: bool = False,
        outputs: CacheOptions | None = None,
    ) -> None:
        self.source = source
        self.family_name = family
        self.guidance = guidance
        self.flip = flip
        self.cache_dtype = outputs and outputs.dtype
        self._outputs = outputs
        self._family: DiffusionFamily | None = None
        self._cache: FrozenCache | None = None
        self._looked = self._lacks = False

    @property
    def family(self) -> DiffusionFamily:
        """The frozen parts, loaded when they are first used; they do not travel to data workers."""
        if self._family is None:
            self._family = load_family(self.source, self.family_name, self.guidance)
        return self._family

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_family": None}

    @abstractmethod
    def medium_key(self, response: Any) -> str:
        """A hash of a medium's content, 32 hexadecimal digits; nothing is decoded.

        Raises:
            RowError: It cannot be read.
        """

    @abstractmethod
    def decode(self, response: Any) -> tuple[Tensor, tuple[float, ...]]:
        """Decode and check a medium; what it returns becomes `DiffusionCell.media` and `numbers`.

        Raises:
            RowError: It cannot be used.
        """

    def is_whole(self, response: Any) -> bool:
        """Whether no part of a medium is left out because it is too long; nothing is decoded.

        Rows that hold another count as truncated. What is cropped from a picture of another shape is no such part.

        Raises:
            RowError: It cannot be read.
        """
        return True

    @abstractmethod
    def media_settings(self) -> Mapping[str, Any]:
        """Whatever beside its content decides what is encoded of a medium; part of the key of cached latents."""

    def prompt_settings(self) -> Mapping[str, Any]:
        """Whatever beside its text decides what is encoded of a prompt; part of the key of cached encodings."""
        return {}

    def show(self, cell: DiffusionCell, choices: RowChoices) -> DiffusionCell:
        """A cell as an epoch shows it: cropped and mirrored, where a modality does so.

        Called for cells whose latents are in the cache too, which have no media.
        """
        return cell

    def pixels(self, media: Tensor) -> Tensor:
        """Media as `DiffusionFamily.encode_clean` takes them, in the frozen parts' dtype but float32 at least."""
        wide = torch.promote_types(getattr(torch, self.source.encoder_dtype), torch.float32)
        return media.to(wide)

    def cell_prompt(self, comparison: Comparison, candidate: Candidate) -> str:
        """The prompt a candidate is judged under.

        Raises:
            RowError: It is not text.
        """
        return text_prompt(comparison, candidate)

    @property
    def cache_mode(self) -> str:
        """`disk`, or `off`."""
        return "off" if self._outputs is None else self._outputs.cache

    @property
    def cache(self) -> FrozenCache | None:
        """The disk caches; None where nothing is kept.

        Raises:
            UserError: The encoders cannot be found.
        """
        if self._cache is None and self._outputs is not None and self.cache_mode == "disk":
            with _OPENING:
                self._cache = self._cache or self._open_cache(self._outputs)
        return self._cache

    def _open_cache(self, outputs: CacheOptions) -> FrozenCache:
        return open_cache(
            outputs,
            self.source,
            family_class(self.source, self.family_name),
            lambda: self.family,
            self.media_settings(),
            self.prompt_settings(),
            self.flip,
        )

    def encode(self, comparison: Comparison) -> Example:
        """See `Modality.encode`; a medium whose latents are in the cache is not decoded."""
        cells = tuple(self._cell(comparison, candidate) for candidate in comparison.candidates)
        whole = all(self.is_whole(candidate.response) for candidate in comparison.candidates)
        return Example(comparison, cells, sizes=(1,) * len(cells), truncated=not whole)

    def _cell(self, comparison: Comparison, candidate: Candidate) -> DiffusionCell:
        prompt, key, cache = self.cell_prompt(comparison, candidate), self.medium_key(candidate.response), self.cache
        kept = cache is not None and cache.has_medium(key)
        if cache is not None:
            # Each flag only ever rises here, so that threads cannot undo each other's.
            self._looked = True
            if not cache.complete(key, prompt):
                self._lacks = True
        if kept:
            return DiffusionCell(key, prompt)
        media, numbers = self.decode(candidate.response)
        return DiffusionCell(key, prompt, numbers, media)

    def collate_cells(self, cells: Sequence[DiffusionCell]) -> dict[str, Any]:
        """See `cell_inputs`."""
        return cell_inputs(cells, self.cache)

    def prepare(self, comparisons: Iterable[Comparison], device: torch.device, only_tell: bool = False) -> bool:
        """Fill the caches, where there are such; see `Modality.prepare`.

        Every process of a distributed run has to call it: they share the work, and wait for each other.

        Raises:
            UserError: The disk is too small, cannot be written, or is another one for other processes.
            RowError: A medium cannot be decoded.
        """
        if self.cache is None:
            return False
        if self._looked and not self._lacks:  # everything that was encoded so far was there
            rank_zero_only(print)(f"cache: everything is there, in {self.cache.folder}")
            if not only_tell:
                wait_for_ranks(device)
            return True
        preparation = Preparation(self, self.cache, comparisons, device)
        for line in preparation.cost():
            rank_zero_only(print)(line)
        if not only_tell:
            preparation.run()
            wait_for_ranks(device)
            preparation.check_complete()
            self._looked = self._lacks = False
        return True

    def encode_batch(self, batch: PreferenceBatch) -> PreferenceBatch:
        """See `Modality.encode_batch`: its inputs become what they are where everything is in the cache."""
        encode_prompt = partial(self.encode_prompt, device=batch.index.device)
        return replace(batch, inputs=encoded_inputs(batch.inputs, self.encode_medium, encode_prompt))

    def encode_medium(self, medium: Tensor) -> Record:
        """The latents of one medium as `show` returns it, on its device."""
        with self._frozen_parts(self.family.media_parts, medium.device):
            mean, std = self.family.encode_clean(self.pixels(medium[None]))
            return medium_record(mean[0], std[0], self._rounding if self.family.encodes_media else None)

    def encode_prompt(self, prompt: str, device: torch.device) -> Record:
        """The encodings of one prompt."""
        with self._frozen_parts(self.family.text_parts, device):
            return prompt_record(self.family.encode_prompts([prompt]), self._rounding)

    @property
    def _rounding(self) -> torch.dtype | None:
        return getattr(torch, self.cache_dtype) if self.cache_dtype else None

    @contextmanager
    def _frozen_parts(self, parts: Sequence[str], device: torch.device) -> Iterator[None]:
        """A context in which frozen parts run on a device in their own precision, whatever the trainer's."""
        self.family.place(parts, device)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                yield
        finally:
            torch.set_default_dtype(default)
