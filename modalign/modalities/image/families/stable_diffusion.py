"""Stable Diffusion 1.x and 2.x, and UNets of the same interface on pixels."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.diffusion.unets import check_unet
from modalign.modalities.image.families.base import ImageFamily
from modalign.modalities.modes import unwrapped, weights_dtype


class StableDiffusion(ImageFamily):
    """`StableDiffusionPipeline`: one text encoder, cross-attention; without a VAE its UNet denoises pixels."""

    pipelines: ClassVar[frozenset[str]] = frozenset({"StableDiffusionPipeline"})
    pipeline_multiple: ClassVar[int] = 8
    optional_parts: ClassVar[frozenset[str]] = frozenset({"vae"})

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        super().check(index, denoiser_config)
        check_unet(index, denoiser_config, addition=None, wanted="a text-to-image model")

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler)

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt_embeds` `(N, T, C)`."""
        device = self.pipeline.text_encoder.device
        embeds, _ = self.pipeline.encode_prompt(list(prompts), device, 1, do_classifier_free_guidance=False)
        return {"prompt_embeds": embeds}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """See `DiffusionFamily.predict`; `numbers` play no part."""
        dtype = weights_dtype(denoiser)
        prediction: Tensor = unwrapped(denoiser)(
            noisy.to(dtype), time, encoder_hidden_states=text["prompt_embeds"].to(dtype), return_dict=False
        )[0]
        return prediction
