"""What families of image models share: an `AutoencoderKL`, or none where the denoiser works on pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any, ClassVar

import torch
from torch import Tensor

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
        largest: The largest height and width that the denoiser has positions for; None for no limit.
        sampled_multiple: What height and width must be multiples of for the pipeline to make such a picture.
    """

    channels: int
    factor: int
    multiple: int
    resolution: int | None
    largest: int | None = None
    sampled_multiple: int = 1

    def latents(self, height: int, width: int) -> int:
        """How many numbers a latent has."""
        return self.channels * (height // self.factor) * (width // self.factor)

    def check(self, option: str, size: int) -> None:
        """Refuse a height or width in pixels that the model does not take.

        Raises:
            ConfigError: Naming the option.
        """
        self._check(option, size, self.multiple, "this model")

    def check_sampled(self, option: str, size: int) -> None:
        """Refuse a height or width in pixels that the pipeline does not make.

        Raises:
            ConfigError: Naming the option.
        """
        self._check(option, size, self.sampled_multiple, "this model's pipeline")

    def nearest_sampled(self, size: int) -> int:
        """The largest height or width up to `size` that the pipeline makes; its smallest where that is larger."""
        return max(size // self.sampled_multiple, 1) * self.sampled_multiple

    def _check(self, option: str, size: int, multiple: int, taker: str) -> None:
        if size < 1 or size % multiple:
            lower = max(size // multiple, 1) * multiple
            raise ConfigError(
                f"{option} is {size}, and {taker} takes multiples of {multiple}.",
                f"Give {lower} or {lower + multiple}.",
            )
        if self.largest is not None and size > self.largest:
            raise ConfigError(
                f"{option} is {size}, and this model takes at most {self.largest}.", "Give a smaller one."
            )


class ImageFamily(DiffusionFamily):
    """A pipeline of images.

    The names of `encode_prompts` are those under which the pipeline's call takes the same tensors.

    Attributes:
        patch: How many latent positions, in height and in width, the denoiser reads as one.
        pipeline_multiple: What the pipeline's call wants height and width in pixels to be multiples of, whatever its
            VAE.
        optional_parts: Text encoders and VAE that a pipeline of this family may lack.
    """

    patch: ClassVar[int] = 1
    pipeline_multiple: ClassVar[int] = 1
    optional_parts: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        for part in (*cls.media_parts, *cls.text_parts):
            if (index.get(part) or [None])[0] is None and part not in cls.optional_parts:
                raise UserError(
                    f"This {index.get('_class_name')} has no {part}: model_index.json names none.",
                    "Name a complete pipeline.",
                )

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
        size, positions = cls.sample_size(denoiser_config), denoiser_config.get("pos_embed_max_size")
        multiple = factor * cls.patch
        return Geometry(
            channels,
            factor,
            multiple,
            resolution=None if size is None else size * factor,
            largest=None if positions is None else positions * multiple,
            sampled_multiple=multiple if vae_config is None else lcm(multiple, cls.pipeline_multiple),
        )

    @classmethod
    def latent_channels(cls, denoiser_config: Mapping[str, Any]) -> int:
        """How many channels the denoiser's latents have."""
        return int(denoiser_config["in_channels"])

    @classmethod
    def sample_size(cls, denoiser_config: Mapping[str, Any]) -> int | None:
        """Height and width of the latents that the denoiser was made for; None where it does not say."""
        size = denoiser_config.get("sample_size")
        return size if isinstance(size, int) else None

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """See `DiffusionFamily.encode_clean`; without a VAE, pixels are the latents."""
        vae = self.pipeline.vae
        if vae is None:
            return media, torch.zeros_like(media)
        distribution = vae.encode(media.to(vae.dtype)).latent_dist
        wide = torch.promote_types(vae.dtype, torch.float32)
        mean, std = distribution.mean.to(wide), distribution.std.to(wide)
        center, scale = self._scaling(mean)
        return (mean - center) * scale, std * scale

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels, in about [-1, 1], of `(N, ...)` latents as `encode_clean` makes them."""
        vae = self.pipeline.vae
        if vae is None:
            return latents
        latents = latents.to(vae.dtype)
        center, scale = self._scaling(latents)
        pixels: Tensor = vae.decode((latents / scale + center).to(vae.dtype), return_dict=False)[0]
        return pixels

    def _scaling(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """What is taken from the VAE's latents, and what they are then multiplied by."""
        config = self.pipeline.vae.config
        scale = torch.as_tensor(config.scaling_factor).to(like)
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            mean, std = (
                torch.tensor(config[name]).to(like).view(1, -1, 1, 1) for name in ("latents_mean", "latents_std")
            )
            return mean, scale / std
        return torch.as_tensor(config.get("shift_factor") or 0.0).to(like), scale

    def call_arguments(
        self, prompts: Mapping[str, Tensor], negative: Mapping[str, Tensor], guidance_scale: float
    ) -> dict[str, Any]:
        """What a call of the pipeline takes in place of prompts, with classifier-free guidance.

        Args:
            prompts: From `encode_prompts`.
            negative: From `encode_prompts`, of what to keep away from.
            guidance_scale: 1 and less is without guidance.
        """
        arguments = {**prompts, "guidance_scale": guidance_scale}
        return arguments | (
            {f"negative_{name}": values for name, values in negative.items()} if guidance_scale > 1 else {}
        )

    def check_sampling(self, guidance_scale: float | None, negative_prompt: str) -> None:
        """Refuse guidance that this family's sampling would ignore.

        Raises:
            UserError: Naming the option.
        """
        if negative_prompt and guidance_scale is not None and guidance_scale <= 1:
            raise UserError(
                f"Sampling: negative_prompt is given, and guidance_scale {guidance_scale} is without guidance.",
                "Give a guidance_scale above 1, or no negative_prompt.",
            )

    def unpacked(self, latents: Tensor, height: int, width: int) -> Tensor:
        """Latents as `encode_clean` makes them, from those the pipeline returns for `output_type="latent"`."""
        return latents


def blank(prompts: Sequence[str]) -> Tensor:
    """`(N,)` bool: which prompts are the unconditional one."""
    return torch.tensor([prompt == "" for prompt in prompts])
