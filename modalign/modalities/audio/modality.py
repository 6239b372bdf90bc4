"""The audio modality: diffusion and flow models that make sounds of prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor, nn

from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.families.base import AudioFamily, AudioGeometry
from modalign.modalities.audio.reading.length import Crop, Short
from modalign.modalities.audio.reading.loudness import check_gain
from modalign.modalities.audio.reading.reader import READING_VERSION, sound_key
from modalign.modalities.audio.responses import SoundResponses
from modalign.modalities.audio.sampling import AudioSamplingOptions, sample_clips
from modalign.modalities.audio.window import Window
from modalign.modalities.diffusion.cells import DiffusionCell, RowChoices
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.frozen_outputs import CacheDtype, CacheOptions
from modalign.modalities.diffusion.likelihood import ErrorSettings
from modalign.modalities.diffusion.loading import Dtype, PipelineSource, family_of_kind
from modalign.modalities.diffusion.modality import DiffusionModality
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.diffusion.weighting import Weighting
from modalign.modalities.lora import Lora

CROPS: tuple[Crop, ...] = get_args(Crop)
SHORTS: tuple[Short, ...] = get_args(Short)


class Audio(SoundResponses, DiffusionModality):
    """Diffusion and flow models of sound; prompts are strings, responses sounds.

    Args:
        model: Hub id or local folder of a diffusers pipeline, or of Tango or TangoFlux as they were published.
        family: The registered family of models; null for the one that serves the pipeline's class.
        revision: Branch, tag or commit of a hub id.
        variant: Of the weight files, such as "fp16".
        dtype: Of the denoiser's weights. Errors are reduced in float32 regardless.
        encoder_dtype: Of the autoencoder's, the vocoder's and the text encoders' weights.
        seconds: How much of each sound is trained on; null for what the model was made for.
        crop: Which part of a longer sound that is: its start, its center, or one drawn anew for each row and epoch, at
            the same place of all its sounds. Whichever it is, the row counts as truncated.
        short: What becomes of a shorter sound: silence is put after it, it is repeated, or its row is refused.
        peak: The largest absolute sample that every sound is brought to; null leaves its level as it is, which is what
            preferences about loudness are learned from.
        loudness: The loudness that every sound is brought to, in LUFS, in place of peak; null leaves it as it is.
        timesteps: Where between sound and noise errors are measured; null for uniform, and logit-normal for flows.
        weighting: What each noise level counts.
        min_snr_gamma: Of the weighting min_snr.
        draws: Over how many times and noises an error is averaged.
        draw_cycle: After how many epochs a row's draws repeat; null for never.
        sample_posterior: Whether latents are drawn from the autoencoder's distribution, rather than taken to be its
            mean.
        caption_dropout: How often a row's prompt is left out, for classifier-free guidance.
        guidance: The guidance scale that a distilled model is told in training; null for the family's own.
        lora: Train a low-rank adapter; null trains all weights of the denoiser.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        cache: Where latents and prompt encodings are kept, computed once: on `disk`, or not at all (`off`).
        cache_folder: The folder for them; null for `frozen` in the folder `MODALIGN_CACHE`, or `~/.cache/modalign`.
        cache_dtype: What they are rounded to, kept or not.

    Raises:
        UserError: Two options contradict each other, or one is out of its range.
    """

    name: ClassVar[str] = "audio"
    media_name: ClassVar[str] = "sounds"
    units: ClassVar[str] = "clips"
    encodes_in_threads: ClassVar[bool] = True  # soundfile decodes and torch resamples without the GIL

    def __init__(
        self,
        model: str,
        family: str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        dtype: Dtype = "float32",
        encoder_dtype: Dtype = "float32",
        seconds: float | None = None,
        crop: Crop = "start",
        short: Short = "pad",
        peak: float | None = None,
        loudness: float | None = None,
        timesteps: Timesteps | None = None,
        weighting: Weighting = "constant",
        min_snr_gamma: float = 5.0,
        draws: int = 1,
        draw_cycle: int | None = None,
        sample_posterior: bool = True,
        caption_dropout: float = 0.0,
        guidance: float | None = None,
        lora: Lora | None = None,
        gradient_checkpointing: bool = False,
        cache: Literal["disk", "off"] = "disk",
        cache_folder: str | None = None,
        cache_dtype: CacheDtype = "float16",
    ) -> None:
        super().__init__(
            PipelineSource(model, revision, variant, dtype, encoder_dtype),
            ErrorSettings(timesteps or Timesteps(), weighting, min_snr_gamma, draws),
            family,
            timesteps is not None,
            guidance,
            draw_cycle,
            sample_posterior,
            caption_dropout,
            lora,
            gradient_checkpointing,
            False,
            CacheOptions(cache, cache_folder, cache_dtype),
        )
        self.crop = crop
        self.short = short
        self.peak = peak
        self.loudness = loudness
        self._seconds = seconds
        self._check_options()

    def _check_options(self) -> None:
        self.check_crop(self.crop, CROPS)
        if self.short not in SHORTS:
            raise ConfigError(f"modality.short is {self.short!r}.", did_you_mean(str(self.short), SHORTS))
        check_gain(self.loudness, self.peak)
        if self._seconds is not None and not 0 < self._seconds < float("inf"):
            raise ConfigError(f"modality.seconds is {self._seconds}.", "Give a number of seconds above 0.")

    @cached_property
    def geometry(self) -> AudioGeometry:
        """How samples become latents, from configuration files alone.

        Raises:
            UserError: The pipeline cannot be found, or is of no family of sounds.
        """
        family = self._family_class
        family.check(self.source.index(), self.source.config(family.denoiser_part))
        return family.geometry(self.source)

    @property
    def _family_class(self) -> type[AudioFamily]:
        return family_of_kind(self.source, self.family_name, AudioFamily, "sounds")  # type: ignore[type-abstract]

    @property
    def family(self) -> DiffusionFamily:
        """See `EncodedModality.family`; it knows how long the window is, where that is told."""
        family = super().family
        if isinstance(family, AudioFamily) and family.tells_seconds:
            family.seconds = self.seconds
        return family

    @cached_property
    def seconds(self) -> float:
        """How much of each sound is trained on.

        Raises:
            ConfigError: The model does not take it, or does not say what it takes.
        """
        seconds = self._seconds or self.geometry.seconds
        if seconds is None:
            raise ConfigError(
                f"{self.source.model!r} does not say how long a sound it was made for.", "Set modality.seconds."
            )
        self.geometry.check_window("modality.seconds", seconds)
        return seconds

    @property
    def latent_sizes(self) -> Mapping[str, int]:
        """See `DiffusionModality.latent_sizes`: of this length, and of half of it."""
        lengths = (self.seconds,) if self.geometry.window else (self.seconds, self.seconds / 2)
        return {f"{length:.4g} seconds": self.geometry.latents(length) for length in lengths}

    def check_model(self) -> None:
        """See `DiffusionModality.check_model`."""
        super().check_model()
        self.geometry.check_window("modality.seconds", self.seconds)

    @cached_property
    def window(self) -> Window:
        """How sounds become clips of one length."""
        geometry = self.geometry
        return Window(
            geometry.rate,
            geometry.channels,
            geometry.samples(self.seconds),
            geometry.hop * geometry.multiple,
            self.crop,
            self.short,
            self.peak,
            self.loudness,
        )

    def medium_key(self, response: Any) -> str:
        """See `EncodedModality.medium_key`."""
        return sound_key(response)

    def decode(self, response: Any) -> tuple[Tensor, tuple[float, ...]]:
        """See `EncodedModality.decode`; only a crop at random is cut as batches are made, out of the whole sound."""
        return self.window.read(response)

    def is_whole(self, response: Any) -> bool:
        """See `EncodedModality.is_whole`."""
        return self.window.is_whole(response)

    def media_settings(self) -> Mapping[str, Any]:
        """See `EncodedModality.media_settings`."""
        return {"window": self.window, "reading": READING_VERSION}

    def prompt_settings(self) -> Mapping[str, Any]:
        """See `EncodedModality.prompt_settings`: a few families tell the text encoder how long the window is."""
        return {"seconds": self.seconds, "geometry": self.geometry} if self._family_class.tells_seconds else {}

    def show(self, cell: DiffusionCell, choices: RowChoices) -> DiffusionCell:
        """See `EncodedModality.show`."""
        if cell.media is None or self.crop != "random":
            return cell
        media, numbers = self.window.cut(cell.media, choices.place[1])
        return replace(cell, media=media, numbers=numbers)

    def sample(
        self, model: nn.Module, prompts: Sequence[Any], n: int = 1, seed: int = 0, **options: Any
    ) -> list[list[Clip]]:
        """`n` clips for each prompt, by the real pipeline around the policy.

        Args:
            model: The policy; its modes and gradient flags are as before afterwards.
            prompts: Texts.
            n: Clips a prompt.
            seed: The same seed and prompt give the same clips, whatever else is sampled with them.
            **options: See `AudioSamplingOptions`.

        Raises:
            UserError: An option is unknown, out of range, or does not fit the model.
        """
        chosen, family = AudioSamplingOptions.of(options), self.family
        if not isinstance(family, AudioFamily):
            raise UserError(f"The family {type(family).__name__} makes no sounds.", "Name another modality.family.")
        with self.whole_pipeline(model):
            return sample_clips(family, model, prompts, n, seed, self.geometry, self.seconds, chosen)

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        """See `Modality.check_sampling`; what only the model knows is checked when it samples."""
        AudioSamplingOptions.of(options)
