"""Stable Diffusion 3 and 3.5: a transformer over latents and the tokens of up to three text encoders."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.image.families.base import ImageFamily
from modalign.modalities.modes import unwrapped, weights_dtype

T5_TOKENS = 256
"""How many tokens T5 gives, as in diffusers' pipeline."""


class StableDiffusion3(ImageFamily):
    """`StableDiffusion3Pipeline` (Esser et al. 2024, arXiv 2403.03206): a rectified flow.

    Each text encoder may be missing; zeros stand for its output, as where the model's training dropped it.
    """

    pipelines: ClassVar[frozenset[str]] = frozenset({"StableDiffusion3Pipeline"})
    denoiser_part: ClassVar[str] = "transformer"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "text_encoder_3")
    optional_parts: ClassVar[frozenset[str]] = frozenset(text_parts)
    lora_targets: ClassVar[tuple[str, ...]] = (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    )
    patch: ClassVar[int] = 2

    @classmethod
    def encoder_settings(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `DiffusionFamily.encoder_settings`: the widths of missing encoders' zeros, and how long T5's part is."""
        widths = {name: denoiser_config[name] for name in ("pooled_projection_dim", "joint_attention_dim")}
        return {**widths, "t5 tokens": T5_TOKENS}

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler)

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)`, CLIP's tokens before T5's, and `pooled_prompt_embeds` `(N, P)`."""
        first, second = (
            self._clip("text_encoder", "tokenizer", prompts),
            self._clip("text_encoder_2", "tokenizer_2", prompts),
        )
        t5 = self._t5(prompts)
        pooled_width = self.denoiser_config["pooled_projection_dim"]
        if first is None and second is None:
            tokens = t5.new_zeros(len(prompts), self.pipeline.tokenizer_max_length, t5.shape[-1])
            return {
                "prompt_embeds": torch.cat([tokens, t5], 1),
                "pooled_prompt_embeds": t5.new_zeros(len(prompts), pooled_width),
            }
        tokens_first, pooled_first = first or _zeros_beside(second, pooled_width)
        tokens_second, pooled_second = second or _zeros_beside(first, pooled_width)
        clip = torch.cat([tokens_first, tokens_second], -1)
        clip = functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
        return {
            "prompt_embeds": torch.cat([clip, t5.to(clip)], 1),
            "pooled_prompt_embeds": torch.cat([pooled_first, pooled_second], -1),
        }

    def _clip(self, part: str, tokenizer: str, prompts: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        """The last but one layer's tokens and the projected summary; None where there is no such encoder."""
        encoder = getattr(self.pipeline, part)
        if encoder is None:
            return None
        tokenize = getattr(self.pipeline, tokenizer)
        inputs = tokenize(
            list(prompts),
            padding="max_length",
            max_length=tokenize.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        output = encoder(inputs.input_ids.to(encoder.device), output_hidden_states=True)
        return output.hidden_states[-2], output[0]

    def _t5(self, prompts: Sequence[str]) -> Tensor:
        encoder, width = self.pipeline.text_encoder_3, self.denoiser_config["joint_attention_dim"]
        if encoder is None:
            present = next((p for name in self.text_parts if (p := getattr(self.pipeline, name)) is not None), None)
            device = torch.device("cpu") if present is None else present.device
            return torch.zeros(len(prompts), T5_TOKENS, width, device=device)
        inputs = self.pipeline.tokenizer_3(
            list(prompts), padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt"
        )
        tokens: Tensor = encoder(inputs.input_ids.to(encoder.device))[0]
        return tokens

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` play no part."""
        dtype = weights_dtype(denoiser)
        prediction: Tensor = unwrapped(denoiser)(
            hidden_states=noisy.to(dtype),
            timestep=time,
            encoder_hidden_states=text["prompt_embeds"].to(dtype),
            pooled_projections=text["pooled_prompt_embeds"].to(dtype),
            return_dict=False,
        )[0]
        return prediction


def _zeros_beside(other: tuple[Tensor, Tensor] | None, pooled_width: int) -> tuple[Tensor, Tensor]:
    """What stands for a CLIP that is missing, beside the one there is: as wide as its summary has to be."""
    assert other is not None
    tokens, pooled = other
    width = pooled_width - pooled.shape[-1]
    return tokens.new_zeros(*tokens.shape[:2], width), pooled.new_zeros(len(pooled), width)
