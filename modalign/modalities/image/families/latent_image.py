"""What families of latent image models share: an `AutoencoderKL`, or none where the denoiser works on pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError, UserError
from modalign.modalities.diffusion.family import DiffusionFamily


@dataclass(frozen=True)
class Geometry:
    """From pixels to latents.

    Attributes:
        channels: Of a latent.
        factor: How many pixels, in height and in width, make one latent position.
        multiple: What height and width in pixels must be multiples of.
        resolution: The height and width that the denoiser was made for; None where it does not say.
    """

    channels: int
    factor: int
    multiple: int
    resolution: int | None

    def latents(self, height: int, width: int) -> int:
        """How many numbers a latent has."""
        return self.channels * (height // self.factor) * (width // self.factor)


class ImageFamily(DiffusionFamily):
    """A pipeline of images.

    The names of `encode_prompts` are those under which the pipeline's call takes the same tensors.

    Attributes:
        patch: How many latent positions, in height and in width, the denoiser reads as one.
        default_sample: Latent positions of the pipeline's usual pictures, where the denoiser's configuration has none.
    """

    patch: ClassVar[int] = 1
    default_sample: ClassVar[int | None] = None

    @classmethod
    def geometry(cls, denoiser_config: Mapping[str, Any], vae_config: Mapping[str, Any] | None) -> Geometry:
        """How large a latent is.

        Args:
            denoiser_config: Of the denoiser.
            vae_config: Of the VAE; None where there is none.

        Raises:
            UserError: VAE and denoiser do not fit each other.
        """
        channels = cls.latent_channels(denoiser_config)
        factor = 1 if vae_config is None else 2 ** (len(vae_config["block_out_channels"]) - 1)
        made = 3 if vae_config is None else int(vae_config["latent_channels"])
        if made != channels:
            what = "pixels without a VAE have" if vae_config is None else "its VAE makes latents of"
            raise UserError(
                f"The denoiser takes {channels} channels, and {what} {made}.", "Name a complete text-to-image pipeline."
            )
        sample = denoiser_config.get("sample_size") if cls.default_sample is None else cls.default_sample
        size = sample if isinstance(sample, int) else None
        return Geometry(channels, factor, factor * cls.patch, None if size is None else size * factor)

    @classmethod
    def latent_channels(cls, denoiser_config: Mapping[str, Any]) -> int:
        """How many channels the denoiser's latents have."""
        return int(denoiser_config["in_channels"])

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        vae = self.pipeline.vae
        if vae is None:
            return media, torch.zeros_like(media)
        distribution = vae.encode(media.to(vae.dtype)).latent_dist
        wide = torch.promote_types(vae.dtype, torch.float32)
        scale, shift = vae.config.scaling_factor, vae.config.get("shift_factor") or 0.0
        return (distribution.mean.to(wide) - shift) * scale, distribution.std.to(wide) * scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels in about [-1, 1] of `(N, ...)` latents as `encode_clean` makes them."""
        vae = self.pipeline.vae
        if vae is None:
            return latents
        scale, shift = vae.config.scaling_factor, vae.config.get("shift_factor") or 0.0
        pixels: Tensor = vae.decode((latents.to(vae.dtype) / scale + shift).to(vae.dtype), return_dict=False)[0]
        return pixels


def unwrapped(denoiser: Any) -> Any:
    """The diffusers model inside a policy; an adapter is built into its layers, so calling it runs the adapter too."""
    return denoiser.get_base_model() if hasattr(denoiser, "get_base_model") else denoiser


def weights_dtype(denoiser: nn.Module) -> torch.dtype:
    """The type of a model's frozen and full weights; an adapter's may be wider."""
    return next(p.dtype for name, p in denoiser.named_parameters() if p.is_floating_point() and "lora_" not in name)


def check_unet(index: Mapping[str, Any], config: Mapping[str, Any], addition: str | None) -> None:
    """Refuse UNets that take more than noisy latents, a time and a text.

    Args:
        index: Of the pipeline.
        config: Of the UNet.
        addition: The `addition_embed_type` that the family feeds.

    Raises:
        ConfigError: Naming what it takes.
    """
    takes = []
    if config["in_channels"] != config["out_channels"]:
        takes.append(f"{config['in_channels']} channels for {config['out_channels']} (inpainting, editing, upscaling)")
    if config.get("addition_embed_type") != addition:
        takes.append(f"addition_embed_type {config.get('addition_embed_type')!r} in place of {addition!r}")
    if config.get("class_embed_type") is not None or config.get("num_class_embeds") is not None:
        takes.append("class labels")
    if config.get("time_cond_proj_dim") is not None:
        takes.append("a guidance scale (time_cond_proj_dim, latent consistency models)")
    if config.get("encoder_hid_dim_type") is not None:
        takes.append(f"encoder_hid_dim_type {config['encoder_hid_dim_type']!r}")
    if takes:
        raise ConfigError(
            f"The UNet of this {index.get('_class_name')} takes {' and '.join(takes)}, which is not trained here.",
            "Name a text-to-image model, or write a family for it in a plugin.",
        )
