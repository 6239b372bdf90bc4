"""Stable Audio Open: a transformer over latents of stereo waveforms, told from when to when there is sound."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.audio.families.base import AudioFamily, AudioGeometry, SamplingRequest, check_numbers, chosen
from modalign.modalities.audio.families.oobleck import decoded, encoded, hop_of
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.loading import PipelineSource
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.sampling import any_precision
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.modes import unwrapped, weights_dtype


class StableAudio(AudioFamily):
    """`StableAudioPipeline` (Evans et al. 2024, arXiv 2407.14358): v prediction in continuous time.

    The pipeline denoises all of its window and cuts what is longer than asked; the seconds that the network is told
    are what keeps the rest silent. The unconditional prompt is zeros in place of prompt and seconds, as it samples.
    """

    pipelines: ClassVar[frozenset[str]] = frozenset({"StableAudioPipeline"})
    denoiser_part: ClassVar[str] = "transformer"
    reads_denoiser: ClassVar[bool] = True
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "projection_model")

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        super().check(index, denoiser_config)
        scheduler = (index.get("scheduler") or [None, None])[1]
        if scheduler == "CosineDPMSolverMultistepScheduler" and find_spec("torchsde") is None:
            raise UserError(
                f"This pipeline's scheduler, {scheduler}, needs torchsde, which is not installed.",
                "Run `pip install 'modalign[audio]'`.",
            )

    @classmethod
    def geometry(cls, source: PipelineSource) -> AudioGeometry:
        """See `AudioFamily.geometry`."""
        denoiser, vae = source.config(cls.denoiser_part), source.config("vae")
        numbers, rate, hop = int(denoiser["in_channels"]), int(vae["sampling_rate"]), hop_of(vae)
        check_numbers(numbers, int(vae["decoder_input_channels"]))
        window = int(denoiser["sample_size"])
        seconds = window * hop / rate
        return AudioGeometry(
            rate, int(vae["audio_channels"]), hop, numbers, seconds=seconds, longest=seconds, window=window
        )

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler)

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """See `DiffusionFamily.encode_clean`: `(N, C, frames)`."""
        return encoded(self.pipeline.vae, media)

    def decode(self, latents: Tensor) -> Tensor:
        """See `AudioFamily.decode`."""
        return decoded(self.pipeline.vae, latents)

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)`, projected, and `told` `(N,)` bool: False for the unconditional prompt."""
        device = self.pipeline.text_encoder.device
        embeds: Tensor = self.pipeline.encode_prompt(list(prompts), device, do_classifier_free_guidance=False)
        told = torch.tensor([prompt != "" for prompt in prompts], device=device)
        return {"prompt_embeds": embeds.masked_fill(~told[:, None, None], 0.0), "told": told}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` are the seconds that the network is told."""
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        dtype, frames = weights_dtype(denoiser), noisy.shape[2]
        start, end = (token.to(dtype) for token in self._seconds(numbers, noisy.device))
        states = torch.cat([text["prompt_embeds"].to(dtype), start, end], dim=1)
        rotary = get_1d_rotary_pos_embed(
            self.denoiser_config["attention_head_dim"] // 2, frames + 1, use_real=True, repeat_interleave_real=False
        )
        prediction: Tensor = unwrapped(denoiser)(
            noisy.to(dtype),
            time.to(dtype),
            encoder_hidden_states=states.masked_fill(~text["told"][:, None, None], 0.0),
            global_hidden_states=torch.cat([start, end], dim=2),
            rotary_embedding=rotary,
            return_dict=False,
        )[0]
        return prediction

    def _seconds(self, numbers: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """`(N, 1, C)` each: what the network is told of starts and ends."""
        assert numbers is not None
        self.place(("projection_model",), device)
        with torch.no_grad():
            told = self.pipeline.projection_model(start_seconds=numbers[:, 0], end_seconds=numbers[:, 1])
        return told.seconds_start_hidden_states, told.seconds_end_hidden_states

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """See `AudioFamily.call`."""
        negative = [request.negative_prompt] * len(request.prompts) if request.negative_prompt else None
        longest = pipeline.transformer.config.sample_size * pipeline.vae.hop_length / pipeline.vae.config.sampling_rate
        with any_precision(pipeline.vae.decoder):  # which stays in float32 where the encoders are in float16
            sounds: Tensor = pipeline(
                list(request.prompts),
                audio_end_in_s=min(request.seconds, longest),
                negative_prompt=negative,
                generator=list(request.generators),
                **chosen(num_inference_steps=request.steps, guidance_scale=request.guidance_scale),
            ).audios
        return sounds
