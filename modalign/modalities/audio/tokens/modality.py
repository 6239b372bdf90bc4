"""The modality of language models that make sound of text, one codec token after another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from modalign.core.batch import Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.objectives.base import Needs
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.reader import READING_VERSION
from modalign.modalities.audio.responses import SoundResponses
from modalign.modalities.audio.sampling import finite_clip
from modalign.modalities.audio.tokens.cell import TokenCell, cell_inputs
from modalign.modalities.audio.tokens.codecs import frozen
from modalign.modalities.audio.tokens.coded_sounds import CodedSounds
from modalign.modalities.audio.tokens.codes import CODES_VERSION, codec_identity
from modalign.modalities.audio.tokens.generation import Job, TokenSamplingOptions, drawn_codes
from modalign.modalities.audio.tokens.likelihood import token_grid, token_logps, token_logps_partly_free
from modalign.modalities.audio.tokens.loading import load_policy, load_processor, trainable
from modalign.modalities.audio.tokens.sounds import Long
from modalign.modalities.diffusion.frozen_cache import cache_root
from modalign.modalities.diffusion.frozen_outputs import CacheOptions
from modalign.modalities.lora import Lora
from modalign.modalities.lora_modality import LoraModality
from modalign.modalities.modes import unwrapped
from modalign.modalities.text.export import check_export, export_policy
from modalign.modalities.text.fingerprint import text_fingerprint
from modalign.modalities.text.loading import Dtype, LoadOptions


class AudioTokens(CodedSounds, SoundResponses, LoraModality):
    """Language models of codec tokens, such as MusicGen and Dia; prompts are strings, responses sounds.

    A sound's log-probability is the sum over its frames and codebooks. Text encoder and codec stay as they are.

    Args:
        model: Hub id or local folder of a transformers model of a known class, or of a peft adapter (merged into its
            base).
        processor: Hub id or folder of the processor, where it is not the model's.
        revision: Branch, tag or commit of a hub id.
        dtype: Of the weights; "auto" takes the checkpoint's. Log-probabilities are reduced in float32 regardless, and
            the codec computes in float32.
        attn_implementation: "sdpa", "eager", "flash_attention_2"...; null lets transformers choose.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        disable_dropout: Set the model's dropout to 0, so that policy and reference see the same network.
        lora: Train a low-rank adapter; null trains all weights of the decoder.
        seconds: How much of a sound is trained on; null for as much as the model's positions hold.
        long: What becomes of longer sounds: `cut` takes their beginning, `error` makes them bad rows.
        chunk_size: How many steps' logits are held at once.
        cache: Where the codes of sounds are kept, computed once: on `disk`, or not at all (`off`).
        cache_folder: The folder for them; null for `frozen` in the folder `MODALIGN_CACHE`, or `~/.cache/modalign`.

    Raises:
        UserError: Two options contradict each other, or one is out of its range.
    """

    name: ClassVar[str] = "audio_tokens"
    encodes_in_threads: ClassVar[bool] = True  # soundfile decodes and torch resamples without the GIL

    def __init__(
        self,
        model: str,
        processor: str | None = None,
        revision: str | None = None,
        dtype: Dtype = "float32",
        attn_implementation: str | None = None,
        gradient_checkpointing: bool = False,
        disable_dropout: bool = True,
        lora: Lora | None = None,
        seconds: float | None = None,
        long: Long = "cut",
        chunk_size: int = 256,
        cache: Literal["disk", "off"] = "disk",
        cache_folder: str | None = None,
    ) -> None:
        self.model = model
        self.processor_name = processor
        self.loading = LoadOptions(
            revision, False, dtype, attn_implementation=attn_implementation, disable_dropout=disable_dropout
        )
        self.gradient_checkpointing = gradient_checkpointing
        self.lora = lora
        self.seconds = seconds
        self.long = long
        self.chunk_size = chunk_size
        self.caching = CacheOptions(cache, cache_folder)
        self._check_options()

    def _check_options(self) -> None:
        if self.lora is not None and self.lora.dropout > 0 and self.loading.disable_dropout:
            raise UserError(
                f"modality.lora.dropout is {self.lora.dropout}, while modality.disable_dropout is true.",
                "Set one of them: dropout 0.0, or disable_dropout false.",
            )
        if self.long not in ("cut", "error"):
            raise ConfigError(f"modality.long is {self.long!r}.", did_you_mean(str(self.long), ("cut", "error")))
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ConfigError(f"modality.seconds is {self.seconds}.", "Give a number of seconds above 0.")
        if self.chunk_size < 1:
            raise ConfigError(f"modality.chunk_size is {self.chunk_size}; it counts steps.", "256 is a good value.")

    def load(self, model: str | None = None) -> nn.Module:
        """See `Modality.load`: the whole model, its decoder or an adapter on that trainable.

        Raises:
            UserError: The model cannot be found or loaded, or does not fit the adapter or the options.
        """
        self.frames  # noqa: B018 - refuses a seconds that does not fit
        options = self.loading if model is None else replace(self.loading, revision=None)
        policy = load_policy(model or self.model, self.family, options)
        return trainable(policy, self.family, self.lora, self.gradient_checkpointing)

    def encode(self, comparison: Comparison) -> Example:
        """See `Modality.encode`; sizes are the scored tokens. A sound whose codes are in the cache is not decoded."""
        cells = tuple(self.cell(comparison, candidate) for candidate in comparison.candidates)
        sizes = tuple(self.family.pattern.size(cell.frames, cell.whole) for cell in cells)
        return Example(comparison, cells, sizes, truncated=not all(cell.whole for cell in cells))

    def collate_cells(self, cells: Sequence[TokenCell]) -> dict[str, Any]:
        """See `cell_inputs`."""
        return cell_inputs(cells, self.family.pattern.codebooks)

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        """The summed log-probabilities of each sound's tokens, all cells in one forward.

        Raises:
            ConfigError: `needs` names something this modality does not compute.
        """
        for name in sorted(needs.extra - self.provides):
            raise ConfigError(f"The {self.name} modality cannot compute {name!r}.", did_you_mean(name, self.provides))
        inputs = self.encode_batch(batch).inputs
        if needs.no_grad_roles and torch.is_grad_enabled():
            free = batch.cells_of(needs.no_grad_roles)
            logps, scored = token_logps_partly_free(self.family, model, inputs, self.chunk_size, free)
        else:
            logps, scored = token_logps(self.family, model, inputs, self.chunk_size)
        likelihood = Likelihood(batch.scatter(logps.sum((1, 2))), batch.sizes)
        if needs.token_logps:
            likelihood.token_logps, likelihood.token_mask = token_grid(logps, scored, batch)
        return likelihood

    def fingerprint(self) -> str:
        """See `Modality.fingerprint`: everything that decides which tokens are scored and how they are computed."""
        return text_fingerprint(
            self.tokenizer,
            {
                "dtype": self.loading.dtype,
                "attn_implementation": self.loading.attn_implementation,
                "codec": codec_identity(self.family, lambda: self.codec, cache_root(self.caching.folder)),
                "frames": self.frames,
                "versions": [CODES_VERSION, READING_VERSION],
            },
        )

    def sample(
        self, model: nn.Module, prompts: Sequence[Any], n: int = 1, seed: int = 0, **options: Any
    ) -> list[list[Clip]]:
        """`n` clips for each prompt.

        Args:
            model: The policy; its modes are as before afterwards.
            prompts: Texts.
            n: Clips a prompt.
            seed: The same seed and prompt give the same clips, whatever else is sampled with them.
            **options: See `TokenSamplingOptions`.

        Raises:
            UserError: An option is unknown or out of range, or a prompt cannot be encoded.
        """
        chosen = TokenSamplingOptions.of(options)
        if n < 1:
            raise UserError(f"Sampling: n is {n}; it counts clips a prompt.", "Ask for at least 1.")
        own = unwrapped(model).generation_config
        frames = self._sampled_frames(own, chosen.seconds)
        guidance = chosen.guidance_scale or own.guidance_scale or 1.0
        jobs = [Job(prompt, self._prompted(prompt), draw) for prompt in prompts for draw in range(n)]
        device = next(model.parameters()).device
        found = drawn_codes(self.family, model, jobs, seed, frames, guidance, chosen)
        clips = [self._clip(codes.to(device), chosen.seconds) for codes in found]
        return [clips[start : start + n] for start in range(0, len(jobs), n)]

    def _sampled_frames(self, own: Any, seconds: float | None) -> int:
        """How many frames a clip has, or may have."""
        if seconds is not None:
            self.family.frames_in(seconds, "Sampling: seconds")
            return min(ceil(seconds * self.family.rate / self.family.hop - 1e-6), self.family.longest)
        if self.seconds is not None:
            return self.frames
        steps = own.max_new_tokens + 1 if own.max_new_tokens is not None else own.max_length or self.family.positions
        return max(1, min(self.family.longest, steps - self.family.pattern.tail))

    def _prompted(self, prompt: Any) -> Sequence[int]:
        if not isinstance(prompt, str):
            raise UserError(f"Sampling: a prompt is {prompt!r}, no text.", "Give texts.")
        return self.family.prompt_ids(self.tokenizer, prompt)

    def _clip(self, codes: Tensor, seconds: float | None) -> Clip:
        with frozen(self.codec, codes.device):
            samples = self.family.samples(self.codec, codes).float().cpu()
        return finite_clip(samples, self.family.rate, seconds or samples.shape[1] / self.family.rate)

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        """See `Modality.check_sampling`; what only the model knows is checked when it samples."""
        TokenSamplingOptions.of(options)

    def export(
        self,
        model: nn.Module,
        folder: Path,
        card: str,
        *,
        merge: bool = True,
        overwrite: bool = False,
        **options: Any,
    ) -> None:
        """Write a transformers folder (or, unmerged, a peft folder) with model card and processor; whole or not at all.

        Args:
            model: The policy; it is not changed.
            folder: Must not exist, unless `overwrite`.
            card: The text of README.md.
            merge: Whether an adapter is merged into a full model, rather than written alone.
            overwrite: Whether an existing folder is replaced.
            **options: Refused: there are no others.

        Raises:
            UserError: The folder exists or cannot be written, or the adapter can only be written otherwise.
        """
        self.check_export({"merge": merge, **options})
        export_policy(model, load_processor(self.family.source), folder, card, merge, overwrite)

    def check_export(self, options: Mapping[str, Any]) -> None:
        """See `Modality.check_export`."""
        check_export(options, self.name, self.model, self.lora is not None)

    def library(self, options: Mapping[str, Any]) -> str:
        """See `Modality.library`."""
        return "transformers" if options.get("merge", True) else "peft"
