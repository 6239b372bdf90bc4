"""AudioLDM: a UNet over mel latents, told one vector that CLAP makes of a prompt."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from modalign.modalities.audio.families.base import SamplingRequest, chosen
from modalign.modalities.audio.families.mel_latents import MelFamily
from modalign.modalities.audio.pipelines.mel import Mel
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.modes import unwrapped, weights_dtype


class AudioLdm(MelFamily):
    """`AudioLDMPipeline` (Liu et al. 2023, arXiv 2301.12503)."""

    pipelines = frozenset({"AudioLDMPipeline"})

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        super(MelFamily, cls).check(index, denoiser_config)  # a `MelFamily` is told tokens, and refuses class labels

    @classmethod
    def front_end(cls, index: Mapping[str, Any], vocoder: Mapping[str, Any] | None) -> Mel:
        assert vocoder is not None
        return Mel(vocoder["sampling_rate"], hop=prod(vocoder["upsample_rates"]), mels=vocoder["model_in_dim"])

    @property
    def mel(self) -> Mel:
        return self.front_end(self.pipeline.config, vars(self.pipeline.vocoder.config))

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        device = self.pipeline.text_encoder.device
        return {"prompt_embeds": self.pipeline._encode_prompt(list(prompts), device, 1, False)}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        dtype = weights_dtype(denoiser)
        labels = text["prompt_embeds"].to(dtype)
        return unwrapped(denoiser)(noisy.to(dtype), time, encoder_hidden_states=None, class_labels=labels).sample

    def decode(self, latents: Tensor) -> Tensor:
        vae, vocoder = self.pipeline.vae, self.pipeline.vocoder
        spectrogram = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample[:, 0]
        return vocoder(spectrogram.to(vocoder.dtype))[:, None, : spectrogram.shape[1] * self.mel.hop]

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        return pipeline(
            list(request.prompts),
            audio_length_in_s=request.seconds,
            negative_prompt=[request.negative_prompt] * len(request.prompts),
            generator=list(request.generators),
            output_type="pt",
            **chosen(num_inference_steps=request.steps, guidance_scale=request.guidance_scale),
        ).audios[:, None]
