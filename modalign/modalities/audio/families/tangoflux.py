"""TangoFlux: a flow transformer over one row of latents, told a prompt and a duration."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.audio.families.base import (
    AudioFamily,
    AudioGeometry,
    SamplingRequest,
    check_numbers,
    chosen,
    has_part,
)
from modalign.modalities.audio.families.mel_latents import saved_mel
from modalign.modalities.audio.families.oobleck import hop_of
from modalign.modalities.audio.layouts.tangoflux import TangoFluxLayout
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.layouts import PublishedLayout
from modalign.modalities.diffusion.loading import PipelineSource
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.modes import unwrapped, weights_dtype


class TangoFlux(AudioFamily):
    """`TangoFluxPipeline` (Hung et al. 2024, arXiv 2412.21037): a rectified flow of a window of one length.

    Without a VAE, mel spectrograms are the latents.
    """

    pipelines: ClassVar[frozenset[str]] = frozenset({"TangoFluxPipeline"})
    own_pipelines: ClassVar[Mapping[str, str]] = {
        "TangoFluxPipeline": "modalign.modalities.audio.pipelines.tangoflux:TangoFluxPipeline"
    }
    published: ClassVar[type[PublishedLayout] | None] = TangoFluxLayout
    denoiser_part: ClassVar[str] = "transformer"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "conditioner")
    optional_parts: ClassVar[frozenset[str]] = frozenset({"vae"})
    lora_targets: ClassVar[tuple[str, ...]] = (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    )

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        super().check(index, denoiser_config)
        if denoiser_config.get("guidance_embeds"):
            raise UserError(
                "The transformer of this TangoFluxPipeline is told a guidance scale (guidance_embeds), which its "
                "pipeline does not tell.",
                "Name a model as TangoFlux's authors publish them.",
            )

    @classmethod
    def geometry(cls, source: PipelineSource) -> AudioGeometry:
        """See `AudioFamily.geometry`."""
        index, numbers = source.index(), int(source.config(cls.denoiser_part)["in_channels"])
        frames = int(index.get("latent_frames", 645))
        if not has_part(index, "vae"):
            mel = saved_mel(index)
            rate, channels, hop, made = mel.rate, 1, mel.hop, mel.mels
        else:
            vae = source.config("vae")
            rate, channels, made = int(vae["sampling_rate"]), int(vae["audio_channels"]), vae["decoder_input_channels"]
            hop = hop_of(vae)
        check_numbers(numbers, int(made))
        seconds = frames * hop / rate
        return AudioGeometry(rate, channels, hop, numbers, seconds=seconds, longest=seconds, window=frames)

    @classmethod
    def encoder_settings(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `DiffusionFamily.encoder_settings`: how many tokens a prompt has, and how mel spectrograms are made."""
        return {"prompt tokens": index.get("prompt_tokens", 64), "mel": index.get("mel")}

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler, time_scale=1.0)

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """See `DiffusionFamily.encode_clean`: `(N, frames, C)`."""
        vae = self.pipeline.vae
        mean, std = self.pipeline.encode_clean(media if vae is None else media.to(vae.dtype))
        wide = torch.promote_types(mean.dtype, torch.float32)
        return mean.to(wide), std.to(wide)

    def decode(self, latents: Tensor) -> Tensor:
        """See `AudioFamily.decode`."""
        waveforms: Tensor = self.pipeline.decode(latents)
        return waveforms

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)`, `prompt_mask` `(N, T)` and `pooled_prompt_embeds` `(N, P)`."""
        encoded: dict[str, Tensor] = self.pipeline.encode_prompt(prompts)
        return encoded

    def unconditional(self, empty: Conditioning, captions: Conditioning) -> Conditioning:
        """See `DiffusionFamily.unconditional`: as much of the padded empty prompt is seen as the caption has tokens."""
        return {**empty, "prompt_mask": captions["prompt_mask"]}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; what is told of `numbers` is where the sound ends."""
        from modalign.modalities.audio.pipelines.tangoflux import flow_velocity

        assert numbers is not None
        dtype = weights_dtype(denoiser)
        self.place(("conditioner",), noisy.device)
        with torch.no_grad():
            token = self.pipeline.conditioner(numbers[:, 1])
        return flow_velocity(unwrapped(denoiser), noisy.to(dtype), time.to(dtype), text, token)

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """See `AudioFamily.call`."""
        sounds: Tensor = pipeline(
            list(request.prompts),
            duration=request.seconds,
            negative_prompt=request.negative_prompt,
            generator=list(request.generators),
            **chosen(num_inference_steps=request.steps, guidance_scale=request.guidance_scale),
        ).audios
        return sounds
