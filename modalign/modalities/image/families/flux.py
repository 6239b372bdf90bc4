"""FLUX.1: a transformer over packed latents, told a guidance scale where it was distilled from guidance."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.image.families.base import ImageFamily
from modalign.modalities.modes import unwrapped, weights_dtype

GUIDANCE = 3.5
"""What a distilled model is told in training where nothing else is said, as in diffusers' training scripts."""


class Flux(ImageFamily):
    """`FluxPipeline`: a rectified flow, whose network is told times in [0, 1] and positions of 2 x 2 patches."""

    pipelines: ClassVar[frozenset[str]] = frozenset({"FluxPipeline"})
    denoiser_part: ClassVar[str] = "transformer"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    lora_targets: ClassVar[tuple[str, ...]] = (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    )
    patch: ClassVar[int] = 2

    @classmethod
    def latent_channels(cls, denoiser_config: Mapping[str, Any]) -> int:
        """See `ImageFamily.latent_channels`; the transformer's own channels are those of a patch."""
        return int(denoiser_config["in_channels"]) // cls.patch**2

    @classmethod
    def sample_size(cls, denoiser_config: Mapping[str, Any]) -> int | None:
        """See `ImageFamily.sample_size`: what `FluxPipeline` makes, since the configuration does not say."""
        return 128

    @classmethod
    def takes_guidance(cls, denoiser_config: Mapping[str, Any]) -> bool:
        """See `DiffusionFamily.takes_guidance`."""
        return bool(denoiser_config.get("guidance_embeds"))

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler, time_scale=1.0)

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)` of T5 and `pooled_prompt_embeds` `(N, P)` of CLIP."""
        device = self.pipeline.text_encoder.device
        embeds, pooled, _ = self.pipeline.encode_prompt(list(prompts), device=device, num_images_per_prompt=1)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` play no part."""
        dtype, (height, width) = weights_dtype(denoiser), noisy.shape[2:]
        guidance = None
        if self.takes_guidance(self.denoiser_config):
            scale = GUIDANCE if self.guidance is None else self.guidance
            guidance = torch.full((len(noisy),), scale, device=noisy.device, dtype=torch.float32)
        prediction: Tensor = unwrapped(denoiser)(
            hidden_states=pack(noisy.to(dtype)),
            timestep=time.to(dtype),
            guidance=guidance,
            pooled_projections=text["pooled_prompt_embeds"].to(dtype),
            encoder_hidden_states=text["prompt_embeds"].to(dtype),
            txt_ids=torch.zeros(text["prompt_embeds"].shape[1], 3, device=noisy.device, dtype=dtype),
            img_ids=patch_positions(height // 2, width // 2).to(noisy.device, dtype),
            return_dict=False,
        )[0]
        return unpack(prediction, height, width)

    def call_arguments(
        self, prompts: Mapping[str, Tensor], negative: Mapping[str, Tensor], guidance_scale: float
    ) -> dict[str, Any]:
        """See `ImageFamily.call_arguments`; the guidance scale is what the network is told."""
        return {**prompts, "guidance_scale": guidance_scale}

    def check_sampling(self, guidance_scale: float | None, negative_prompt: str) -> None:
        """See `ImageFamily.check_sampling`."""
        if negative_prompt:
            raise UserError(
                "Sampling: negative_prompt is given, and FLUX is guided by a number it is told, without one.",
                "Leave negative_prompt out.",
            )
        if guidance_scale is not None and not self.takes_guidance(self.denoiser_config):
            raise UserError(
                f"Sampling: guidance_scale is {guidance_scale}, and this model is told none.", "Leave it out."
            )

    def unpacked(self, latents: Tensor, height: int, width: int) -> Tensor:
        """See `ImageFamily.unpacked`."""
        factor = self.pipeline.vae_scale_factor
        return unpack(latents, height // factor, width // factor)


def pack(latents: Tensor) -> Tensor:
    """`(N, H/2 * W/2, 4 C)` patches of `(N, C, H, W)` latents."""
    n, c, h, w = latents.shape
    return latents.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h // 2 * (w // 2), 4 * c)


def unpack(patches: Tensor, height: int, width: int) -> Tensor:
    """`(N, C, height, width)` latents of `(N, height/2 * width/2, 4 C)` patches."""
    n, _, c = patches.shape
    grid = patches.reshape(n, height // 2, width // 2, c // 4, 2, 2)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(n, c // 4, height, width)


def patch_positions(rows: int, columns: int) -> Tensor:
    """`(rows * columns, 3)`: 0, row and column of each patch."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], -1).reshape(-1, 3)
