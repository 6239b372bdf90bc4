"""ACE-Step 1.5: a flow transformer over latents of stereo music, told a prompt and how many seconds it makes."""

from collections.abc import Sequence
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.audio.families.base import AudioFamily, AudioGeometry, SamplingRequest, check_numbers, chosen
from modalign.modalities.audio.families.equal_lengths import by_length, by_prompt_length
from modalign.modalities.audio.families.oobleck import decoded, encoded, hop_of
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.frozen_outputs import Record, stacked_prompts
from modalign.modalities.diffusion.loading import PipelineSource
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.sampling import any_precision
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.modes import unwrapped, weights_dtype

TIMBRE_SECONDS = 30
"""How much silence stands for the timbre where no reference sound is given, as in the pipeline."""
PROMPT_TOKENS = 256
"""To how many tokens the pipeline cuts a prompt with what it writes around it."""


class AceStep(AudioFamily):
    """`AceStepPipeline`: Qwen3, a timbre, a rectified flow in continuous time.

    Music is made of text alone, as by the pipeline's call with a prompt and a duration: without lyrics (their language
    being "en"), tempo, key or time signature, and with silence for a reference sound and for what is painted over. The
    duration is that of the whole window, in whole seconds, also where a sound ends before it. Base, SFT and turbo
    models are conditioned alike; turbo models sample without guidance.

    The transformer attends to what a shorter prompt in a batch is filled up with, so prompts run together only with
    others of as many tokens.
    """

    pipelines: ClassVar[frozenset[str]] = frozenset({"AceStepPipeline"})
    denoiser_part: ClassVar[str] = "transformer"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "condition_encoder")
    tells_seconds: ClassVar[bool] = True

    @classmethod
    def geometry(cls, source: PipelineSource) -> AudioGeometry:
        """See `AudioFamily.geometry`; the model was made for no length in particular."""
        denoiser, vae = source.config(cls.denoiser_part), source.config("vae")
        numbers = int(denoiser["audio_acoustic_hidden_dim"])
        check_numbers(numbers, int(vae["decoder_input_channels"]))
        return AudioGeometry(int(vae["sampling_rate"]), int(vae["audio_channels"]), hop_of(vae), numbers)

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler)

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """See `DiffusionFamily.encode_clean`: `(N, frames, C)`."""
        mean, std = encoded(self.pipeline.vae, media)
        return mean.transpose(1, 2), std.transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """See `AudioFamily.decode`; the pipeline brings what it samples to one peak besides."""
        return decoded(self.pipeline.vae, latents.transpose(1, 2))

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)`, of lyrics, timbre and text in this order, and `prompt_mask` `(N, T)`.

        One by one, since the text encoder is given no mask either.
        """
        return stacked_prompts([self._encoded(prompt) for prompt in prompts])

    def _encoded(self, prompt: str) -> Record:
        encoder = self.pipeline.condition_encoder
        silence = encoder.silence_latent[:, : ceil(TIMBRE_SECONDS * self.pipeline.latents_per_second)]
        told = self.pipeline.encode_prompt([prompt], [""], encoder.device, audio_duration=self.seconds)
        states, mask = encoder(*told, silence, torch.zeros(1, dtype=torch.long, device=encoder.device))
        return {"prompt_embeds": states[0], "prompt_mask": mask[0]}

    def unconditional(self, empty: Conditioning, captions: Conditioning) -> Conditioning:
        """See `DiffusionFamily.unconditional`: a learned embedding, as often as the caption has tokens."""
        states = captions["prompt_embeds"]
        learned = self.pipeline.condition_encoder.null_condition_emb.to(states)
        return {**captions, "prompt_embeds": learned.expand_as(states)}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` play no part. Prompts of each length run by themselves."""

        def run(places: list[int], states: Tensor) -> Tensor:
            return self._velocity(unwrapped(denoiser), noisy[places], time[places], states)

        return by_prompt_length(text, run)

    def _velocity(self, denoiser: Any, noisy: Tensor, time: Tensor, states: Tensor) -> Tensor:
        dtype = weights_dtype(denoiser)
        silence, _ = self.pipeline.prepare_src_latents(
            noisy.device, dtype, batch_size=len(noisy), latent_length=noisy.shape[1]
        )
        prediction: Tensor = denoiser(
            hidden_states=noisy.to(dtype),
            timestep=time.to(dtype),
            timestep_r=time.to(dtype),
            encoder_hidden_states=states.to(dtype),
            context_latents=torch.cat([silence, torch.ones_like(silence)], dim=2),  # ones: all of it is to be made
            return_dict=False,
        )[0]
        return prediction

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """See `AudioFamily.call`.

        Noise is drawn here, as the pipeline would: it counts some lengths, such as 2.2 seconds, in two ways.
        """
        from diffusers.utils.torch_utils import randn_tensor

        transformer, frames = pipeline.transformer, ceil(request.seconds * pipeline.latents_per_second)
        scale = 1.0 if self._turbo else request.guidance_scale

        def run(places: list[int]) -> Tensor:
            noise = randn_tensor(
                (len(places), frames, transformer.config.audio_acoustic_hidden_dim),
                generator=[request.generators[place] for place in places],
                device=transformer.device,
                dtype=transformer.dtype,
            )
            sounds: Tensor = pipeline(
                [request.prompts[place] for place in places],
                lyrics=[""] * len(places),
                audio_duration=request.seconds,
                latents=noise,
                **chosen(num_inference_steps=request.steps, guidance_scale=scale),
            ).audios
            return sounds

        with any_precision(pipeline.condition_encoder, pipeline.vae.decoder):
            return by_length(_token_counts(pipeline, request.prompts, request.seconds), run)

    def check_request(self, seconds: float, guidance_scale: float | None, negative_prompt: str) -> None:
        """See `AudioFamily.check_request`."""
        if negative_prompt:
            raise UserError("Sampling: negative_prompt is given, and ACE-Step takes none.", "Leave it out.")
        if self._turbo and guidance_scale is not None and guidance_scale > 1:
            raise UserError(
                f"Sampling: guidance_scale is {guidance_scale}, and this turbo model samples without guidance.",
                "Leave it out.",
            )

    @property
    def _turbo(self) -> bool:
        config = self.denoiser_config
        return bool(config.get("is_turbo")) or config.get("model_version") == "turbo"


def _token_counts(pipeline: Any, prompts: Sequence[str], seconds: float) -> list[int]:
    """How many tokens prompts have, with what the pipeline writes around them."""
    texts = [pipeline._format_prompt(prompt, audio_duration=seconds)[0] for prompt in prompts]
    return [len(pipeline.tokenizer(text, truncation=True, max_length=PROMPT_TOKENS).input_ids) for text in texts]
