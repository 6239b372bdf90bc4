"""LongCat-AudioDiT: a flow transformer over latents of mono waveforms, whose time runs from noise to data."""

from collections.abc import Sequence
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from modalign.modalities.audio.families.base import AudioFamily, AudioGeometry, SamplingRequest, check_numbers, chosen
from modalign.modalities.audio.families.equal_lengths import by_length, by_prompt_length
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.loading import PipelineSource
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.modes import unwrapped, weights_dtype

LONGEST = 30.0
"""To how many seconds the pipeline cuts what it is asked for."""


class LongCatAudio(AudioFamily):
    """`LongCatAudioDiTPipeline`: UMT5, a rectified flow in reversed time.

    Its transformer mixes what a shorter prompt in a batch is filled up with into the prompt itself, so prompts run
    together only with others of as many tokens: what is made of one does not depend on the batch.
    """

    pipelines: ClassVar[frozenset[str]] = frozenset({"LongCatAudioDiTPipeline"})
    denoiser_part: ClassVar[str] = "transformer"
    reads_denoiser: ClassVar[bool] = True

    @classmethod
    def geometry(cls, source: PipelineSource) -> AudioGeometry:
        """See `AudioFamily.geometry`; the model was made for no length in particular."""
        denoiser, vae = source.config(cls.denoiser_part), source.config("vae")
        numbers = int(denoiser["latent_dim"])
        check_numbers(numbers, int(vae["latent_dim"]))
        return AudioGeometry(
            rate=int(vae["sample_rate"]),
            channels=int(vae["in_channels"]),
            hop=int(vae["downsampling_ratio"]),
            numbers=numbers,
            longest=LONGEST,
        )

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler, time_scale=1.0)

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """See `DiffusionFamily.encode_clean`: `(N, frames, C)`."""
        vae = self.pipeline.vae
        mean, spread = vae.encoder(media.to(vae.dtype)).transpose(1, 2).chunk(2, dim=2)
        wide = torch.promote_types(vae.dtype, torch.float32)
        std = functional.softplus(spread) + 1e-4  # as in the VAE's own `encode`, which returns samples alone
        return mean.to(wide) / vae.config.scale, std.to(wide) / vae.config.scale

    def decode(self, latents: Tensor) -> Tensor:
        """See `AudioFamily.decode`."""
        waveforms: Tensor = self.pipeline.vae.decode(latents.transpose(1, 2)).sample
        return waveforms

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)` and `prompt_mask` `(N, T)`; zeros for the empty prompt, see `unconditional`."""
        encoder = self.pipeline.text_encoder
        embeds, lengths = self.pipeline.encode_prompt(_normalised(prompts), encoder.device)
        mask = torch.arange(embeds.shape[1], device=encoder.device) < lengths[:, None]
        told = torch.tensor([prompt != "" for prompt in prompts], device=encoder.device)
        return {"prompt_embeds": embeds.masked_fill(~(mask & told[:, None])[..., None], 0.0), "prompt_mask": mask}

    def unconditional(self, empty: Conditioning, captions: Conditioning) -> Conditioning:
        """See `DiffusionFamily.unconditional`: zeros, as many as the caption has tokens."""
        return {**captions, "prompt_embeds": torch.zeros_like(captions["prompt_embeds"])}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` play no part. Prompts of each length run by themselves."""

        def run(places: list[int], states: Tensor) -> Tensor:
            return _velocity(unwrapped(denoiser), noisy[places], time[places], states)

        return by_prompt_length(text, run)

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """See `AudioFamily.call`; the pipeline would round lengths down to whole latents, which are cut here."""
        rate, hop = pipeline.sample_rate, pipeline.vae_scale_factor
        samples = round(request.seconds * rate)
        frames = min(ceil(samples / hop), int(LONGEST * rate // hop))

        def run(places: list[int]) -> Tensor:
            sounds: Tensor = pipeline(
                [request.prompts[place] for place in places],
                negative_prompt=request.negative_prompt or None,
                audio_duration_s=(frames + 0.5) * hop / rate,
                generator=[request.generators[place] for place in places],
                output_type="pt",
                **chosen(num_inference_steps=request.steps, guidance_scale=request.guidance_scale),
            ).audios
            return sounds

        lengths = [len(pipeline.tokenizer(prompt).input_ids) for prompt in _normalised(request.prompts)]
        return by_length(lengths, run)[..., :samples]


def _normalised(prompts: Sequence[str]) -> list[str]:
    """Prompts as the pipeline's call gives them to its encoder."""
    from diffusers.pipelines.longcat_audio_dit.pipeline_longcat_audio_dit import _normalize_text

    return [_normalize_text(prompt) for prompt in prompts]


def _velocity(denoiser: Any, noisy: Tensor, time: Tensor, states: Tensor) -> Tensor:
    dtype = weights_dtype(denoiser)
    prediction: Tensor = denoiser(
        hidden_states=noisy.to(dtype),
        encoder_hidden_states=states.to(dtype),
        encoder_attention_mask=states.new_ones(states.shape[:2], dtype=torch.bool),
        timestep=time.to(dtype),
        attention_mask=noisy.new_ones(noisy.shape[:2], dtype=torch.bool),
        latent_cond=torch.zeros_like(noisy, dtype=dtype),
        return_dict=False,
    )[0]
    return prediction
