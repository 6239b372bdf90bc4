"""The image modality: diffusion and flow models that make pictures of prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor, nn

from modalign.core.errors import ConfigError, UserError
from modalign.modalities.diffusion.cells import DiffusionCell, RowChoices
from modalign.modalities.diffusion.frozen_outputs import CacheDtype, CacheOptions
from modalign.modalities.diffusion.likelihood import ErrorSettings
from modalign.modalities.diffusion.loading import Dtype, PipelineSource, family_of_kind
from modalign.modalities.diffusion.modality import DiffusionModality
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.diffusion.weighting import Weighting
from modalign.modalities.image.contact_sheet import contact_sheet
from modalign.modalities.image.decoding import DECODING_VERSION, decode_image, picture_key
from modalign.modalities.image.families.base import Geometry, ImageFamily
from modalign.modalities.image.framing import Framing
from modalign.modalities.image.sampling import ImageSamplingOptions, sample_images
from modalign.modalities.lora import Lora

Crop = Literal["center", "random"]
CROPS: tuple[Crop, ...] = get_args(Crop)


class Image(DiffusionModality):
    """Diffusion and flow models of images; prompts are strings, responses pictures.

    Args:
        model: Hub id or local folder of a diffusers pipeline.
        family: The registered family of models; null for the one that serves the pipeline's class.
        revision: Branch, tag or commit of a hub id.
        variant: Of the weight files, such as "fp16".
        dtype: Of the denoiser's weights. Errors are reduced in float32 regardless.
        encoder_dtype: Of the VAE's and the text encoders' weights; many VAEs overflow in float16.
        resolution: Height and width that pictures are brought to; null for what the denoiser was made for.
        crop: Which part of a picture that is not square is kept.
        flip: Whether pictures are mirrored at random; both of a pair alike.
        timesteps: Where between picture and noise errors are measured; null for uniform, and logit-normal for flows.
        weighting: What each noise level counts.
        min_snr_gamma: Of the weighting min_snr.
        draws: Over how many times and noises an error is averaged.
        draw_cycle: After how many epochs a row's draws repeat; null for never.
        sample_posterior: Whether latents are drawn from the VAE's distribution, rather than taken to be its mean.
        caption_dropout: How often a row's prompt is left out, for classifier-free guidance.
        guidance: The guidance scale that a distilled model such as FLUX.1-dev is told in training; null for 3.5.
        lora: Train a low-rank adapter; null trains all weights of the denoiser.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        cache: Where latents and prompt encodings are kept, computed once: on `disk`, or not at all (`off`).
        cache_folder: The folder for them; null for `frozen` in the folder `MODALIGN_CACHE`, or `~/.cache/modalign`.
        cache_dtype: What they are rounded to, kept or not.

    Raises:
        UserError: Two options contradict each other, or one is out of its range.
    """

    name: ClassVar[str] = "image"
    media_name: ClassVar[str] = "images"
    units: ClassVar[str] = "images"
    encodes_in_threads: ClassVar[bool] = True  # Pillow decodes and scales without the GIL

    def __init__(
        self,
        model: str,
        family: str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        dtype: Dtype = "float32",
        encoder_dtype: Dtype = "float32",
        resolution: int | None = None,
        crop: Crop = "center",
        flip: bool = False,
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
            flip,
            CacheOptions(cache, cache_folder, cache_dtype),
        )
        self.crop = crop
        self._resolution = resolution
        self._check_options()

    def _check_options(self) -> None:
        self.check_crop(self.crop, CROPS)
        if self._resolution is not None and self._resolution < 1:
            raise ConfigError(
                f"modality.resolution is {self._resolution}; it counts pixels.", "512 and 1024 are usual."
            )

    @cached_property
    def geometry(self) -> Geometry:
        """How pixels become latents, from configuration files alone.

        Raises:
            UserError: The pipeline cannot be found, or is of no family of images.
        """
        family = family_of_kind(self.source, self.family_name, ImageFamily, "images")  # type: ignore[type-abstract]
        index, denoiser = self.source.index(), self.source.config(family.denoiser_part)
        family.check(index, denoiser)
        vae = self.source.config("vae") if (index.get("vae") or [None])[0] is not None else None
        return family.geometry(denoiser, vae)

    @cached_property
    def resolution(self) -> int:
        """Height and width of the pictures that are trained on.

        Raises:
            ConfigError: The model does not take it, or does not say what it takes.
        """
        resolution = self._resolution or self.geometry.resolution
        if resolution is None:
            raise ConfigError(
                f"{self.source.model!r} does not say which resolution it was made for.", "Set modality.resolution."
            )
        self.geometry.check("modality.resolution", resolution)
        return resolution

    @property
    def latent_sizes(self) -> Mapping[str, int]:
        """See `DiffusionModality.latent_sizes`: at this resolution, and at twice its height and width."""
        sides = (self.resolution, 2 * self.resolution)
        return {f"{side}x{side}": self.geometry.latents(side, side) for side in sides}

    def check_model(self) -> None:
        """See `DiffusionModality.check_model`."""
        super().check_model()
        self.geometry.check("modality.resolution", self.resolution)

    @cached_property
    def framing(self) -> Framing:
        """How pictures become squares of the resolution."""
        return Framing(self.resolution, self.crop)

    def medium_key(self, response: Any) -> str:
        """See `EncodedModality.medium_key`."""
        return picture_key(response)

    def decode(self, response: Any) -> tuple[Tensor, tuple[float, ...]]:
        """See `EncodedModality.decode`; a picture is scaled, and cut to a square only as batches are made."""
        picture = decode_image(response)
        return self.framing.resized(picture), (float(picture.height), float(picture.width))

    def media_settings(self) -> Mapping[str, Any]:
        """See `EncodedModality.media_settings`."""
        return {"framing": self.framing, "decoding": DECODING_VERSION}

    def show(self, cell: DiffusionCell, choices: RowChoices) -> DiffusionCell:
        """See `EncodedModality.show`."""
        cell = replace(cell, flipped=choices.flipped)
        if cell.media is None:
            return cell
        media, numbers = self.framing.framed(cell.media, cell.numbers, choices.place, choices.flipped)
        return replace(cell, media=media, numbers=numbers)

    def pixels(self, media: Tensor) -> Tensor:
        """`(N, 3, H, W)` uint8 as numbers in [-1, 1]."""
        return super().pixels(media) / 127.5 - 1

    def sample(
        self, model: nn.Module, prompts: Sequence[Any], n: int = 1, seed: int = 0, **options: Any
    ) -> list[list[Any]]:
        """`n` PIL images for each prompt, by the real diffusers pipeline around the policy.

        Args:
            model: The policy; its modes and gradient flags are as before afterwards.
            prompts: Texts.
            n: Pictures a prompt.
            seed: The same seed and prompt give the same pictures, whatever else is sampled with them.
            **options: See `ImageSamplingOptions`.

        Raises:
            UserError: An option is unknown, out of range, or does not fit the model.
        """
        chosen, family = ImageSamplingOptions.of(options), self.family
        if not isinstance(family, ImageFamily):
            raise UserError(f"The family {type(family).__name__} makes no images.", "Name another modality.family.")
        with self.whole_pipeline(model):
            return sample_images(family, model, prompts, n, seed, self.geometry, self.resolution, chosen)

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        """See `Modality.check_sampling`; what only the model knows is checked when it samples."""
        ImageSamplingOptions.of(options)

    def save(self, response: Any, stem: Path) -> Path:
        """See `Modality.save`: a PNG."""
        path = stem.with_name(f"{stem.name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        response.save(path)
        return path

    def contact_sheet(self, prompts: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> Any:
        """See `Modality.contact_sheet`."""
        return contact_sheet(prompts, columns)

    def preview(self, prompt: Any, response: Any) -> str:
        """See `Modality.preview`."""
        return f"{prompt} ({response.width} x {response.height} pixels)"
