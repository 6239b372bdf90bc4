"""TangoFlux as a diffusers pipeline: T5 and a duration, a flow transformer over one row of latents, Oobleck.

Imports nothing of modalign but the file beside it, so that copies of both in a saved pipeline sample it without
modalign.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AudioPipelineOutput, DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from .mel import Mel


class TangoFluxPipeline(DiffusionPipeline):
    """Text to sound by a rectified flow (Hung et al. 2024, arXiv 2412.21037).

    It always denoises `latent_frames`, the window that the model was trained on, and cuts what is longer than asked.

    Args:
        transformer: A `FluxTransformer2DModel` over `(N, latent_frames, C)`.
        scheduler: A flow's.
        text_encoder: A T5 encoder.
        tokenizer: Its tokenizer.
        conditioner: A `TangoFluxConditioner`.
        vae: An `AutoencoderOobleck`; None where mel spectrograms are the latents.
        latent_frames: How many latents a window has.
        prompt_tokens: Prompts are cut or filled up to so many tokens; the transformer does not see what is filled up.
        mel: Settings of `Mel`, where there is no VAE.
    """

    _optional_components = ["vae"]  # noqa: RUF012
    model_cpu_offload_seq = "text_encoder->conditioner->transformer->vae"

    def __init__(
        self,
        transformer: Any,
        scheduler: Any,
        text_encoder: Any,
        tokenizer: Any,
        conditioner: Any,
        vae: Any = None,
        latent_frames: int = 645,
        prompt_tokens: int = 64,
        mel: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer,
            scheduler=scheduler,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            conditioner=conditioner,
            vae=vae,
        )
        self.register_to_config(latent_frames=latent_frames, prompt_tokens=prompt_tokens, mel=mel)

    @property
    def sampling_rate(self) -> int:
        """Samples a second."""
        return self.front_end.rate if self.vae is None else int(self.vae.config.sampling_rate)

    @property
    def front_end(self) -> Mel:
        """What makes mel spectrograms, where those are the latents."""
        return Mel(**(self.config.mel or {}))

    def encode_prompt(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What the text encoder makes of prompts.

        Returns:
            `prompt_embeds` `(N, T, C)`, `prompt_mask` `(N, T)` bool and `pooled_prompt_embeds` `(N, P)`.
        """
        inputs = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.config.prompt_tokens,
            truncation=True,
            return_tensors="pt",
        ).to(self.text_encoder.device)
        states = self.text_encoder(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)[0]
        mask = inputs.attention_mask.bool()
        return {
            "prompt_embeds": states,
            "prompt_mask": mask,
            "pooled_prompt_embeds": self.conditioner.pooled(states, mask),
        }

    def encode_clean(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, `(N, frames, C)` each, of `(N, channels, samples)` waveforms' latents."""
        if self.vae is None:
            mean = self.front_end.spectrogram(waveforms[:, 0])
            return mean, torch.zeros_like(mean)
        distribution = self.vae.encode(waveforms).latent_dist
        return distribution.mean.transpose(1, 2), distribution.std.transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """`(N, channels, samples)` waveforms of `(N, frames, C)` latents."""
        if self.vae is None:
            return self.front_end.waveforms(latents).unsqueeze(1)
        waveforms: Tensor = self.vae.decode(latents.transpose(1, 2).to(self.vae.dtype)).sample
        return waveforms

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        duration: float = 10.0,
        num_inference_steps: int = 50,
        guidance_scale: float = 4.5,
        negative_prompt: str | Sequence[str] = "",
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pt",
    ) -> AudioPipelineOutput:
        """Make sounds.

        Args:
            prompt: One, or one a sound.
            duration: In seconds, at most the window's.
            num_inference_steps: Euler steps.
            guidance_scale: At most 1 is without guidance.
            negative_prompt: What to keep away from, one for all or one a sound.
            generator: One for all, or one a sound.
            output_type: `pt`, `np` or `latent`.

        Returns:
            `(N, channels, samples)` waveforms, or `(N, frames, C)` latents.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        text = self.encode_prompt(prompts)
        guided = guidance_scale > 1
        if guided:
            negative = [negative_prompt] * len(prompts) if isinstance(negative_prompt, str) else list(negative_prompt)
            text = _doubled(self._negative_text(negative, text), text)
        device = text["prompt_embeds"].device
        token = self.conditioner(torch.full((len(prompts) * (1 + guided),), float(duration), device=device))
        shape = (len(prompts), self.config.latent_frames, self.transformer.config.in_channels)
        latents = randn_tensor(shape, generator=generator, device=device, dtype=text["prompt_embeds"].dtype)
        self.scheduler.set_timesteps(
            sigmas=np.linspace(1.0, 1 / num_inference_steps, num_inference_steps), device=device
        )
        for time in self.progress_bar(self.scheduler.timesteps):
            level = (time / self.scheduler.config.num_train_timesteps).to(latents.dtype)
            inputs = torch.cat([latents] * 2) if guided else latents
            inputs = inputs.to(self.transformer.dtype)
            velocity = flow_velocity(self.transformer, inputs, level.expand(len(inputs)), text, token).to(latents.dtype)
            if guided:
                without, with_prompt = velocity.chunk(2)
                velocity = without + guidance_scale * (with_prompt - without)
            latents = self.scheduler.step(velocity, time, latents, return_dict=False)[0]
        sounds = latents
        if output_type != "latent":
            sounds = self.decode(latents)[..., : int(duration * self.sampling_rate)]
        self.maybe_free_model_hooks()
        return AudioPipelineOutput(audios=sounds.cpu().float().numpy() if output_type == "np" else sounds)

    def _negative_text(self, negative: Sequence[str], text: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encodings of what to keep away from.

        The empty prompt is read at the length of the prompt that it stands against, as in TangoFlux's own sampling.
        """
        encoded = self.encode_prompt(negative)
        empty = torch.tensor([each == "" for each in negative], device=text["prompt_mask"].device)
        encoded["prompt_mask"] = torch.where(empty[:, None], text["prompt_mask"], encoded["prompt_mask"])
        return encoded


def flow_velocity(transformer: Any, noisy: Tensor, level: Tensor, text: Mapping[str, Tensor], token: Tensor) -> Tensor:
    """Run the transformer.

    Args:
        transformer: A `FluxTransformer2DModel`.
        noisy: `(N, frames, C)`.
        level: `(N,)`, the share of noise in it.
        text: From `encode_prompt`.
        token: `(N, 1, text_dim)`, the duration.

    Returns:
        `(N, frames, C)`: noise minus clean latents.
    """
    dtype, count, frames = noisy.dtype, noisy.shape[0], noisy.shape[1]
    states = torch.cat([text["prompt_embeds"].to(dtype), token.to(dtype)], dim=1)
    seen = torch.cat([text["prompt_mask"], text["prompt_mask"].new_ones(count, 1 + frames)], dim=1)
    # Whole numbers, since bfloat16 holds no odd ones above 256.
    place = torch.arange(frames, device=noisy.device)
    velocity: Tensor = transformer(
        hidden_states=noisy,
        timestep=level,
        guidance=None,
        pooled_projections=text["pooled_prompt_embeds"].to(dtype),
        encoder_hidden_states=states,
        txt_ids=place.new_zeros(states.shape[1], 3),
        img_ids=place[:, None].expand(frames, 3),
        joint_attention_kwargs={"attention_mask": seen[:, None, None]},
        return_dict=False,
    )[0]
    return velocity


def _doubled(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.cat([first[name], second[name]]) for name in second}
