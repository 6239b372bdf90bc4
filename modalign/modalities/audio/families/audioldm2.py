"""AudioLDM 2: a UNet over mel latents, which attends to T5's tokens and to states that a GPT-2 makes of the prompt."""

import inspect
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.audio.families.base import SamplingRequest, chosen
from modalign.modalities.audio.families.mel_latents import MelFamily
from modalign.modalities.audio.pipelines.mel import Mel
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.frozen_outputs import Record, stacked_prompts
from modalign.modalities.modes import unwrapped, weights_dtype

RATE = 16000
"""Of the published models' front end, whose other settings are `Mel`'s defaults; their pipelines do not tell them."""


class AudioLdm2(MelFamily):
    """`AudioLDM2Pipeline` (Liu et al. 2023, arXiv 2308.05734).

    GPT-2 counts the places of padding too, so that its states would depend on the longest prompt of a batch: prompts
    are encoded one by one. For the same reason its states of the empty prompt, which the pipeline pads to the length of
    the one it is sampled with, are kept with each prompt. T5's tokens of padding are masked, and are left out.
    """

    pipelines: ClassVar[frozenset[str]] = frozenset({"AudioLDM2Pipeline"})
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "projection_model", "language_model")

    def __init__(self, pipeline: Any, denoiser_config: Mapping[str, Any], guidance: float | None = None) -> None:
        super().__init__(pipeline, denoiser_config, guidance)
        pipeline.language_model = _generating(pipeline.language_model)

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        super().check(index, denoiser_config)
        if index["text_encoder_2"][1] != "T5EncoderModel":
            raise UserError(
                f"The second text encoder of this AudioLDM2Pipeline is a {index['text_encoder_2'][1]}: it speaks a "
                "transcription, which is not trained here.",
                "Name a model of sounds or music, whose second text encoder is a T5EncoderModel.",
            )

    @classmethod
    def checkpoint(cls, denoiser: Any) -> None:
        """See `DiffusionFamily.checkpoint`; the attentions do it one by one.

        The blocks around them hand their arguments on in a wrong order where they recompute (diffusers 0.42), so that
        one mask stands for another.
        """
        super().checkpoint(denoiser)
        for module in denoiser.modules():
            if hasattr(module, "attentions") and hasattr(module, "resnets"):
                module.gradient_checkpointing = False

    @classmethod
    def front_end(cls, index: Mapping[str, Any], vocoder: Mapping[str, Any] | None) -> Mel:
        """See `MelFamily.front_end`."""
        assert vocoder is not None
        rate, hop, mels = vocoder["sampling_rate"], prod(vocoder["upsample_rates"]), vocoder["model_in_dim"]
        if rate != RATE:
            raise UserError(
                f"The vocoder of this AudioLDM2Pipeline makes {rate} samples a second, and how spectrograms of other "
                f"rates than {RATE} were made in training is not known.",
                "Name a model of 16 kHz, or write a family for this one in a plugin.",
            )
        return Mel(rate, hop=hop, mels=mels)

    @classmethod
    def encoder_settings(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `DiffusionFamily.encoder_settings`: what of the front end is not the vocoder's."""
        return {"mel": Mel(), "version": 2}

    @property
    def mel(self) -> Mel:
        """See `MelFamily.mel`."""
        return self.front_end(self.pipeline.config, vars(self.pipeline.vocoder.config))

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """T5's `prompt_embeds` `(N, T, C)` and `attention_mask` `(N, T)`, and GPT-2's `generated_prompt_embeds`.

        `negative_generated_prompt_embeds` are those of the empty prompt at the length of each.
        """
        return stacked_prompts([self._record(prompt) for prompt in prompts])

    def _record(self, prompt: str) -> Record:
        encoded = self._encoded(self.pipeline, prompt, guided=True)
        away, towards = (_named(tuple(values[row : row + 1] for values in encoded)) for row in range(2))
        return {**towards, "negative_generated_prompt_embeds": away["generated_prompt_embeds"]}

    def unconditional(self, empty: Conditioning, captions: Conditioning) -> Conditioning:
        """See `DiffusionFamily.unconditional`."""
        return {**empty, "generated_prompt_embeds": captions["negative_generated_prompt_embeds"]}

    def _encoded(self, pipeline: Any, prompt: str, guided: bool = False, negative: str = "") -> tuple[Tensor, ...]:
        """What the pipeline's encoders make of one prompt; with guidance, what it keeps away from comes first."""
        device = self.pipeline.text_encoder_2.device
        encoded: tuple[Tensor, ...] = pipeline.encode_prompt(prompt, device, 1, guided, negative_prompt=negative)
        return encoded

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` play no part."""
        dtype = weights_dtype(denoiser)
        prediction: Tensor = unwrapped(denoiser)(
            noisy.to(dtype),
            time,
            encoder_hidden_states=text["generated_prompt_embeds"].to(dtype),
            encoder_hidden_states_1=text["prompt_embeds"].to(dtype),
            encoder_attention_mask_1=text["attention_mask"],
            return_dict=False,
        )[0]
        return prediction

    def decode(self, latents: Tensor) -> Tensor:
        """See `AudioFamily.decode`."""
        vae, vocoder = self.pipeline.vae, self.pipeline.vocoder
        spectrogram = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample[:, 0]
        samples: Tensor = vocoder(spectrogram.to(vocoder.dtype))
        return samples[:, None, : spectrogram.shape[1] * self.mel.hop]

    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """See `AudioFamily.call`."""
        scale = request.guidance_scale
        if scale is None:
            scale = inspect.signature(type(pipeline).__call__).parameters["guidance_scale"].default
        guided = scale > 1
        each = [self._encoded(pipeline, prompt, guided, request.negative_prompt) for prompt in request.prompts]
        text = stacked_prompts([_named(tuple(values[-1:] for values in encoded)) for encoded in each])
        if guided:
            away = stacked_prompts([_named(tuple(values[:1] for values in encoded)) for encoded in each])
            text |= {f"negative_{name}": values for name, values in away.items()}
        # Half a sample more, since the pipeline cuts the product of seconds and rate to a whole number.
        samples = round(request.seconds * self.mel.rate)
        latents = pipeline(
            audio_length_in_s=(samples + 0.5) / self.mel.rate,
            generator=list(request.generators),
            guidance_scale=scale,
            output_type="latent",
            **text,
            **chosen(num_inference_steps=request.steps),
        ).audios
        return self.decode(latents)[..., :samples]


def _named(encoded: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """A prompt's encodings under the names by which the pipeline takes them, without the dimension of prompts."""
    names = ("prompt_embeds", "attention_mask", "generated_prompt_embeds")
    return {name: values[0] for name, values in zip(names, encoded, strict=True)}


def _generating(language_model: Any) -> Any:
    """The GPT-2 in the class that generates: published pipelines name the bare model, whose class no longer does."""
    if hasattr(language_model, "_update_model_kwargs_for_generation"):
        return language_model
    from transformers import GPT2LMHeadModel

    with torch.device("meta"):
        model = GPT2LMHeadModel(language_model.config)
    model.transformer = language_model
    model.tie_weights()
    return model.requires_grad_(False).eval()
