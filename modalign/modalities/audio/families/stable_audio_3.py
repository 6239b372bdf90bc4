"""Stable Audio 3: a flow transformer over latents of stereo waveforms of any length, told how long they last."""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.audio.families.base import AudioFamily, AudioGeometry, SamplingRequest, check_numbers, chosen
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.loading import PipelineSource
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.modes import unwrapped, weights_dtype


class StableAudio3(AudioFamily):
    """`StableAudio3Pipeline`: T5Gemma, a duration, a rectified flow in continuous time."""

    pipelines: ClassVar[frozenset[str]] = frozenset({"StableAudio3Pipeline"})
    denoiser_part: ClassVar[str] = "transformer"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "duration_embedder")
    lora_targets: ClassVar[tuple[str, ...]] = ("to_qkv", "to_q", "to_kv", "to_out")

    @classmethod
    def geometry(cls, source: PipelineSource) -> AudioGeometry:
        """See `AudioFamily.geometry`; the model was made for no length in particular."""
        denoiser, vae = source.config(cls.denoiser_part), source.config("vae")
        numbers = int(denoiser["io_channels"])
        check_numbers(numbers, int(vae["latent_dim"]))
        return AudioGeometry(
            rate=int(vae["sampling_rate"]),
            channels=int(vae["audio_channels"]),
            hop=int(vae["patch_size"]) * prod(int(stride) for stride in vae["encoder_strides"]),
            numbers=numbers,
            multiple=int(denoiser["patch_size"]),
            longest=float(source.config("duration_embedder")["max_val"]),
        )

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler)

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """See `DiffusionFamily.encode_clean`: `(N, C, frames)`; the encoder is deterministic."""
        vae = self.pipeline.vae
        latents = vae.encode(media.to(vae.dtype)).latents
        latents = latents.to(torch.promote_types(vae.dtype, torch.float32))
        return latents, torch.zeros_like(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """See `AudioFamily.decode`."""
        waveforms: Tensor = self.pipeline.vae.decode(latents.to(self.pipeline.vae.dtype)).sample
        return waveforms

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)` and `prompt_mask` `(N, T)`, of one length whatever the prompts."""
        embeds, mask = self.pipeline.encode_prompt(list(prompts), self.pipeline.text_encoder.device, 1)
        return {"prompt_embeds": embeds, "prompt_mask": mask.bool()}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; what is told of `numbers` is where the sound ends."""
        assert numbers is not None
        dtype = weights_dtype(denoiser)
        self.place(("duration_embedder",), noisy.device)
        with torch.no_grad():
            duration = self.pipeline.duration_embedder(numbers[:, 1])
        context, mask = self.pipeline.prepare_cross_attention(
            text["prompt_embeds"].to(dtype), text["prompt_mask"], duration
        )
        prediction: Tensor = unwrapped(denoiser)(
            noisy.to(dtype),
            time,
            encoder_hidden_states=context,
            global_hidden_states=duration.to(dtype),
            encoder_attention_mask=mask,
            return_dict=False,
        )[0]
        return prediction

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """See `AudioFamily.call`."""
        sounds: Tensor = pipeline(
            list(request.prompts),
            duration=request.seconds,
            generator=list(request.generators),
            **chosen(
                num_inference_steps=request.steps,
                guidance_scale=request.guidance_scale,
                negative_prompt=request.negative_prompt or None,
            ),
        ).audios
        return sounds

    def check_request(self, seconds: float, guidance_scale: float | None, negative_prompt: str) -> None:
        """See `AudioFamily.check_request`; this pipeline samples without guidance unless it is told a scale."""
        super().check_request(seconds, guidance_scale, negative_prompt)
        if negative_prompt and guidance_scale is None:
            raise UserError(
                "Sampling: negative_prompt is given, and Stable Audio 3 samples without guidance of its own accord.",
                "Give a guidance_scale above 1, or no negative_prompt.",
            )
