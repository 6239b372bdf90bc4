"""The pipeline of Tango and Tango 2 (Ghosal et al. 2023, arXiv 2304.13731; Majumder et al. 2024, arXiv 2404.09956).

It imports nothing of modalign but `mel`, which lies beside it here and in exported folders alike.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AudioPipelineOutput, DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn import functional

from .mel import Mel


class TangoPipeline(DiffusionPipeline):
    """Text to sound: T5, a UNet over latents of mel spectrograms, a VAE, a HiFi-GAN vocoder.

    Without a VAE, the UNet denoises the spectrogram itself. Without a vocoder, `Mel.waveforms` makes samples of one.

    Args:
        vae: An `AutoencoderKL` of one channel, or None.
        text_encoder: A `T5EncoderModel`.
        tokenizer: Its tokenizer.
        unet: A `UNet2DConditionModel`.
        scheduler: Of diffusers.
        vocoder: A `SpeechT5HifiGan`, or None.
        mel: Settings of `Mel`; None for the published models'.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae->vocoder"
    _optional_components = ["vae", "vocoder"]  # noqa: RUF012

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        unet: Any,
        scheduler: Any,
        vocoder: Any,
        mel: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler, vocoder=vocoder
        )
        self.register_to_config(mel=mel)
        self.front_end = Mel(**(mel or {}))
        self.vae_scale_factor = 1 if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)

    def encode_prompt(self, prompt: str | list[str]) -> tuple[Tensor, Tensor]:
        """T5's tokens of prompts.

        Returns:
            `(N, tokens, width)`, and a bool mask `(N, tokens)` of those that are not padding.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        encoder = self.text_encoder
        inputs = self.tokenizer(
            prompts, max_length=self.tokenizer.model_max_length, padding=True, truncation=True, return_tensors="pt"
        )
        mask = inputs.attention_mask.to(encoder.device)
        embeds: Tensor = encoder(inputs.input_ids.to(encoder.device), attention_mask=mask)[0]
        return embeds, mask == 1

    def decode_latents(self, latents: Tensor) -> Tensor:
        """`(N, frames * hop)` samples of latents."""
        if self.vae is not None:
            latents = (latents / self.vae.config.scaling_factor).to(self.vae.dtype)
            latents = self.vae.decode(latents).sample
        mel = latents[:, 0]
        if self.vocoder is None:
            return self.front_end.waveforms(mel)
        samples: Tensor = self.vocoder(mel.to(self.vocoder.dtype))
        return samples[:, : mel.shape[1] * self.front_end.hop]

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        audio_length_in_s: float | None = None,
        num_inference_steps: int = 200,
        guidance_scale: float = 3.0,
        negative_prompt: str | list[str] | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
    ) -> AudioPipelineOutput | tuple[Any]:
        """Make sounds.

        Args:
            prompt: What of, one a sound.
            audio_length_in_s: How long; None for what the UNet was made for.
            num_inference_steps: Denoising steps.
            guidance_scale: How far to follow the prompt; 1 is without guidance.
            negative_prompt: What to keep away from.
            generator: Of the noise; one, or one a sound.
            latents: The first noise, instead.
            output_type: `np` or `pt` for samples, `latent` for latents.
            return_dict: Whether `.audios` holds the result, rather than a tuple.

        Returns:
            `(N, samples)`, on the CPU where it is samples.

        Raises:
            ValueError: The length or the output type makes no sound.
        """
        if output_type not in ("np", "pt", "latent"):
            raise ValueError(f"output_type is {output_type!r}; give np, pt or latent.")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        embeds, mask = self._text(prompts, negative_prompt, guidance_scale > 1)
        frames, length = self._frames(audio_length_in_s)
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        latents = self._noise(len(prompts), frames, embeds.dtype, generator, latents)
        latents = self._denoised(latents, embeds, mask, guidance_scale, generator)
        if output_type == "latent":
            audio: Any = latents
        else:
            audio = self.decode_latents(latents)[:, :length].float().cpu()
            audio = audio.numpy() if output_type == "np" else audio
        self.maybe_free_model_hooks()
        return AudioPipelineOutput(audios=audio) if return_dict else (audio,)

    def _text(self, prompts: list[str], negative: str | list[str] | None, guided: bool) -> tuple[Tensor, Tensor]:
        """The encodings that the UNet is given: with guidance, those to keep away from come first."""
        embeds, mask = self.encode_prompt(prompts)
        if not guided:
            return embeds, mask
        away = [negative or ""] * len(prompts) if negative is None or isinstance(negative, str) else negative
        if len(away) != len(prompts):
            raise ValueError(f"There are {len(prompts)} prompts and {len(away)} negative prompts.")
        negatives, negative_mask = self.encode_prompt(away)
        tokens = max(embeds.shape[1], negatives.shape[1])
        pad = [tokens - values.shape[1] for values in (negatives, embeds)]
        both = [functional.pad(values, (0, 0, 0, more)) for values, more in zip((negatives, embeds), pad, strict=True)]
        masks = [functional.pad(values, (0, more)) for values, more in zip((negative_mask, mask), pad, strict=True)]
        return torch.cat(both), torch.cat(masks)

    def _frames(self, seconds: float | None) -> tuple[int, int]:
        """How many latent frames make a sound of that length, and to how many samples it is cut."""
        step = self.front_end.hop * self.vae_scale_factor
        if seconds is None:
            size = self.unet.config.sample_size
            if size is None:
                raise ValueError("audio_length_in_s is None, and the UNet does not say what it was made for.")
            frames = size if isinstance(size, int) else size[0]
            return frames, frames * step
        length = round(seconds * self.front_end.rate)
        if length < 1:
            raise ValueError(f"audio_length_in_s is {seconds}; it counts seconds.")
        return -(-length // step), length

    def _noise(self, count: int, frames: int, dtype: torch.dtype, generator: Any, latents: Tensor | None) -> Tensor:
        device = self._execution_device
        shape = (count, self.unet.config.in_channels, frames, self.front_end.mels // self.vae_scale_factor)
        noise = randn_tensor(shape, generator, device, dtype) if latents is None else latents.to(device, dtype)
        return noise * float(self.scheduler.init_noise_sigma)

    def _denoised(self, latents: Tensor, embeds: Tensor, mask: Tensor, scale: float, generator: Any) -> Tensor:
        takes = inspect.signature(self.scheduler.step).parameters
        options = {"generator": generator} if "generator" in takes else {}
        dtype = self.unet.dtype
        for time in self.progress_bar(self.scheduler.timesteps):
            noisy = torch.cat([latents] * 2) if scale > 1 else latents
            noisy = self.scheduler.scale_model_input(noisy, time)
            answer = self.unet(
                noisy.to(dtype), time, encoder_hidden_states=embeds.to(dtype), encoder_attention_mask=mask
            ).sample.to(latents.dtype)
            if scale > 1:
                away, towards = answer.chunk(2)
                answer = away + scale * (towards - away)
            latents = self.scheduler.step(answer, time, latents, **options).prev_sample
        return latents
