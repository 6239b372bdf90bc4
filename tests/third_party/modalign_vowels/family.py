"""Lumina-Image 2.0: a flow whose time runs from noise to data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.noise_process import Corrupted, NoiseProcess, RectifiedFlow
from modalign.modalities.image.families.base import ImageFamily
from modalign.modalities.modes import unwrapped, weights_dtype


class TowardsData(RectifiedFlow):
    """A rectified flow whose network is told 1 at the data, and predicts the velocity from noise to data."""

    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        usual = super().corrupt(clean, noise, position)
        return replace(usual, target=-usual.target, time=1 - usual.time)


class Lumina2(ImageFamily):
    """`Lumina2Pipeline`: Gemma 2 reads the prompt, and padding is masked."""

    pipelines = frozenset({"Lumina2Pipeline"})
    denoiser_part = "transformer"
    patch = 2

    def make_process(self, scheduler: Any) -> NoiseProcess:
        return TowardsData(scheduler.config.shift, scheduler.config.num_train_timesteps, time_scale=1.0)

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        system = self.pipeline.system_prompt + " <Prompt Start> "
        texts = [system + prompt if prompt else "" for prompt in prompts]
        embeds, mask = self.pipeline._get_gemma_prompt_embeds(texts, self.pipeline.text_encoder.device)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        dtype = weights_dtype(denoiser)
        return unwrapped(denoiser)(
            hidden_states=noisy.to(dtype),
            timestep=time.to(dtype),
            encoder_hidden_states=text["prompt_embeds"].to(dtype),
            encoder_attention_mask=text["prompt_attention_mask"],
            return_dict=False,
        )[0]
