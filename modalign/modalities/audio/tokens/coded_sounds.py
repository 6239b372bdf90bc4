"""The half of a token model's modality that makes codes of sounds: a frozen codec, and a cache of what it has made."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from modalign.core.batch import Candidate, Comparison, PreferenceBatch
from modalign.core.modality import Modality
from modalign.modalities.audio.reading.reader import READING_VERSION, sound_key
from modalign.modalities.audio.tokens.cell import TokenCell
from modalign.modalities.audio.tokens.codecs import frozen
from modalign.modalities.audio.tokens.codes import CODES_VERSION, CodeCache, CodePreparation, codec_identity
from modalign.modalities.audio.tokens.family import TokenFamily
from modalign.modalities.audio.tokens.loading import load_family, load_tokenizer, token_source
from modalign.modalities.audio.tokens.sounds import Long, SoundReader
from modalign.modalities.diffusion.frozen_cache import cache_root
from modalign.modalities.diffusion.frozen_outputs import CacheOptions
from modalign.modalities.diffusion.preparation import wait_for_ranks
from modalign.modalities.prompts import text_prompt
from modalign.modalities.text.loading import LoadOptions


class CodedSounds(Modality):
    """Reads sounds as codes.

    Attributes:
        model: Hub id or folder of the model.
        processor_name: The same of its processor, where it is not the model's.
        loading: How the model is loaded.
        seconds: How much of a sound is read; None for as much as the model takes.
        long: What becomes of longer sounds.
        caching: Where codes are kept.
    """

    model: str
    processor_name: str | None
    loading: LoadOptions
    seconds: float | None
    long: Long
    caching: CacheOptions
    _codec: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """The codec does not travel to data workers, which have no use for it."""
        return {**vars(self), "_codec": None}

    @cached_property
    def family(self) -> TokenFamily:
        """How this kind of model is used, known from configuration files alone.

        Raises:
            UserError: The model cannot be found, or is of no known kind.
        """
        return load_family(token_source(self.model, self.processor_name, self.loading.revision))

    @cached_property
    def tokenizer(self) -> Any:
        """Of prompts."""
        return load_tokenizer(self.family.source)

    @property
    def codec(self) -> Any:
        """The frozen codec, loaded when it is first used."""
        if self._codec is None:
            self._codec = self.family.load_codec()
        return self._codec

    @cached_property
    def frames(self) -> int:
        """The most frames of a sound that are trained on.

        Raises:
            ConfigError: `seconds` is shorter than a frame, or longer than the model takes.
        """
        if self.seconds is None:
            return self.family.longest
        return self.family.frames_in(self.seconds, "modality.seconds")

    @cached_property
    def reader(self) -> SoundReader:
        """How sounds become what the codec takes."""
        return SoundReader(self.family.rate, self.family.channels, self.family.hop, self.frames, self.long)

    @cached_property
    def cache(self) -> CodeCache | None:
        """The codes on disk; None where nothing is kept.

        Raises:
            UserError: The codec cannot be found.
        """
        if self.caching.cache == "off":
            return None
        import transformers

        folder = cache_root(self.caching.folder)
        about = {
            "codec": codec_identity(self.family, lambda: self.codec, folder),
            "family": type(self.family).__qualname__,
            "sounds": [self.family.rate, self.family.channels, self.frames],
            "versions": [CODES_VERSION, READING_VERSION, ".".join(transformers.__version__.split(".")[:2])],
        }
        return CodeCache(folder, about, self.frames)

    def cell(self, comparison: Comparison, candidate: Candidate) -> TokenCell:
        """What is handed to the model of a response; a sound whose codes are in the cache is not decoded."""
        prompt, key = text_prompt(comparison, candidate), sound_key(candidate.response)
        ids = self.family.prompt_ids(self.tokenizer, prompt)
        whole = self.reader.is_whole(candidate.response)
        if self.cache is not None and key in self.cache:
            codes = self.cache.read(key)
            return TokenCell(key, prompt, ids, len(codes), whole, codes)
        samples = self.reader.read(candidate.response)
        return TokenCell(key, prompt, ids, self.family.frames(samples.shape[1]), whole, samples=samples)

    def encode_sound(self, samples: Tensor) -> Tensor:
        """`(T, K)` codes of `(channels, samples)`, computed in float32 on their device."""
        with frozen(self.codec, samples.device):
            return self.family.codes(self.codec, samples.float())

    def encode_batch(self, batch: PreferenceBatch) -> PreferenceBatch:
        """See `Modality.encode_batch`: its inputs become what they are where all codes are in the cache."""
        known = {name: value for name, value in batch.inputs.items() if name not in ("live", "samples")}
        return replace(batch, inputs={**known, "codes": self.codes_of(batch.inputs)})

    def codes_of(self, inputs: Mapping[str, Any]) -> Tensor:
        """`(N, T, K)` codes of all cells of a batch, those that are not in the cache computed now."""
        codes: Tensor = inputs["codes"]
        if "samples" not in inputs:
            return codes
        codes = codes.clone()
        for place, samples in zip(inputs["live"].tolist(), inputs["samples"], strict=True):
            found = self.encode_sound(samples)
            codes[place, : len(found)] = found
        return codes

    def prepare(self, comparisons: Iterable[Comparison], device: torch.device, only_tell: bool = False) -> bool:
        """Fill the cache of codes; see `Modality.prepare`.

        Every process of a distributed run has to call it: they share the work, and wait for each other.

        Raises:
            UserError: The disk cannot be written.
            RowError: A sound cannot be decoded.
        """
        if self.cache is None:
            return False
        preparation = CodePreparation(
            self.cache, comparisons, self.reader.read, lambda samples: self.encode_sound(samples.to(device))
        )
        for line in preparation.cost(self.family.pattern.codebooks):
            rank_zero_only(print)(line)
        if not only_tell:
            preparation.run()
            wait_for_ranks(device)
        return True
