"""Stable Diffusion XL: two text encoders, and a UNet that is told the picture's size and crop."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.diffusion.unets import check_unet
from modalign.modalities.image.families.base import ImageFamily, blank
from modalign.modalities.modes import unwrapped, weights_dtype

_FORCE_ZEROS = "force_zeros_for_empty_prompt"


class StableDiffusionXl(ImageFamily):
    """`StableDiffusionXLPipeline` (Podell et al. 2023, arXiv 2307.01952)."""

    pipelines: ClassVar[frozenset[str]] = frozenset({"StableDiffusionXLPipeline"})
    pipeline_multiple: ClassVar[int] = 8
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")

    def __init__(self, pipeline: Any, denoiser_config: Mapping[str, Any], guidance: float | None = None) -> None:
        super().__init__(pipeline, denoiser_config, guidance)
        pooled = pipeline.text_encoder_2.config.projection_dim
        expected = denoiser_config["projection_class_embeddings_input_dim"]
        told = (expected - pooled) // denoiser_config["addition_time_embed_dim"]
        if told != 6:
            raise ConfigError(
                f"The UNet is told {told} numbers of a picture, and SDXL's base model 6; SDXL's refiner takes 5.",
                "Name a base model.",
            )

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        super().check(index, denoiser_config)
        check_unet(index, denoiser_config, addition="text_time", wanted="a text-to-image model")

    @classmethod
    def encoder_settings(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `DiffusionFamily.encoder_settings`."""
        # Where model_index.json is silent, the pipeline's own default holds.
        return {_FORCE_ZEROS: bool(index.get(_FORCE_ZEROS, True))}

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler)

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)` and `pooled_prompt_embeds` `(N, P)`.

        The unconditional prompt is all zeros where the pipeline samples so (`force_zeros_for_empty_prompt`).
        """
        device = self.pipeline.text_encoder_2.device
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        if self.pipeline.config[_FORCE_ZEROS]:
            empty = blank(prompts).to(device)
            embeds = embeds.masked_fill(empty[:, None, None], 0.0)
            pooled = pooled.masked_fill(empty[:, None], 0.0)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` are the micro-conditioning (section 2.2 of the paper)."""
        dtype = weights_dtype(denoiser)
        prediction: Tensor = unwrapped(denoiser)(
            noisy.to(dtype),
            time,
            encoder_hidden_states=text["prompt_embeds"].to(dtype),
            added_cond_kwargs={"text_embeds": text["pooled_prompt_embeds"].to(dtype), "time_ids": numbers},
            return_dict=False,
        )[0]
        return prediction
