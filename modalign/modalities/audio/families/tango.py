"""Tango and Tango 2: a UNet over mel latents, which attends to T5's tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from modalign.modalities.audio.families.base import SamplingRequest, chosen
from modalign.modalities.audio.families.mel_latents import MelFamily, saved_mel
from modalign.modalities.audio.layouts.tango import TangoLayout
from modalign.modalities.audio.pipelines.mel import Mel
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.layouts import PublishedLayout
from modalign.modalities.modes import unwrapped, weights_dtype


class Tango(MelFamily):
    """`TangoPipeline` (arXiv 2304.13731, arXiv 2404.09956); VAE and vocoder may be missing, see there."""

    pipelines: ClassVar[frozenset[str]] = frozenset({"TangoPipeline"})
    own_pipelines: ClassVar[Mapping[str, str]] = {
        "TangoPipeline": "modalign.modalities.audio.pipelines.tango:TangoPipeline"
    }
    published: ClassVar[type[PublishedLayout] | None] = TangoLayout
    optional_parts: ClassVar[frozenset[str]] = frozenset({"vae", "vocoder"})

    @classmethod
    def front_end(cls, index: Mapping[str, Any], vocoder: Mapping[str, Any] | None) -> Mel:
        """See `MelFamily.front_end`."""
        return saved_mel(index)

    @classmethod
    def encoder_settings(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `DiffusionFamily.encoder_settings`."""
        return {"mel": cls.front_end(index, None)}

    @property
    def mel(self) -> Mel:
        """See `MelFamily.mel`."""
        found: Mel = self.pipeline.front_end
        return found

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)` and their mask `attention_mask` `(N, T)`."""
        embeds, mask = self.pipeline.encode_prompt(list(prompts))
        return {"prompt_embeds": embeds, "attention_mask": mask}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` play no part."""
        dtype = weights_dtype(denoiser)
        prediction: Tensor = unwrapped(denoiser)(
            noisy.to(dtype),
            time,
            encoder_hidden_states=text["prompt_embeds"].to(dtype),
            encoder_attention_mask=text["attention_mask"],
            return_dict=False,
        )[0]
        return prediction

    def decode(self, latents: Tensor) -> Tensor:
        """See `AudioFamily.decode`."""
        waveforms: Tensor = self.pipeline.decode_latents(latents)
        return waveforms[:, None]

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """See `AudioFamily.call`."""
        sounds: Tensor = pipeline(
            list(request.prompts),
            audio_length_in_s=request.seconds,
            negative_prompt=request.negative_prompt,
            generator=list(request.generators),
            output_type="pt",
            **chosen(num_inference_steps=request.steps, guidance_scale=request.guidance_scale),
        ).audios
        return sounds[:, None]
