"""Pictures from a policy, by the diffusers pipeline it belongs to: the real one, around the policy's own weights."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.modalities.diffusion.sampling import SamplingOptions, is_number, pipeline_around, sampled
from modalign.modalities.image.families.base import Geometry, ImageFamily
from modalign.modalities.modes import unwrapped, weights_dtype

PIXEL_FACTOR = 8
"""By what diffusers' pipelines divide height and width where they have no VAE to ask."""


@dataclass(frozen=True)
class ImageSamplingOptions(SamplingOptions):
    """How pictures are drawn.

    Args:
        height: In pixels; None for the resolution of training, or the next below it that the pipeline makes.
        width: As the height.
        eta: How much noise DDIM adds (Song et al. 2020, arXiv 2010.02502), from 0 to 1.
    """

    counts: ClassVar[tuple[str, ...]] = ("steps", "height", "width", "batch_size")

    height: int | None = None
    width: int | None = None
    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.eta) and 0 <= self.eta <= 1):
            raise UserError(f"Sampling: eta is {self.eta!r}.", "Give a number from 0 to 1.")


def sample_images(
    family: ImageFamily,
    denoiser: nn.Module,
    prompts: Sequence[str],
    n: int,
    seed: int,
    geometry: Geometry,
    resolution: int,
    options: ImageSamplingOptions,
) -> list[list[Any]]:
    """`n` PIL images for each prompt.

    Args:
        family: The frozen parts, on the denoiser's device.
        denoiser: A policy; its modes and gradient flags are as before afterwards.
        prompts: The same ones give the same pictures.
        n: Pictures a prompt.
        seed: Another seed, other pictures.
        geometry: Which sizes the model takes.
        resolution: Of training.
        options: How pictures are drawn.

    Raises:
        UserError: An option does not fit the model, or a prompt is no text.
    """
    family.check_sampling(options.guidance_scale, options.negative_prompt)
    _check_eta(family.pipeline.scheduler, options.eta)
    side = geometry.nearest_sampled(resolution)
    height, width = options.height or side, options.width or side
    geometry.check_sampled("Sampling: height", height)
    geometry.check_sampled("Sampling: width", width)
    pipeline = pipeline_around(family, unwrapped(denoiser), without=("text_encoder", "tokenizer"))
    arguments = _arguments(family, pipeline, height, width, options)

    def make(batch: list[str], sources: list[torch.Generator]) -> Sequence[Any]:
        text = _text(family, batch, denoiser)
        negative = _text(family, [options.negative_prompt] * len(batch), denoiser)
        call = family.call_arguments(text, negative, arguments["guidance_scale"])
        latents = pipeline(**{**arguments, **call}, generator=sources, output_type="latent").images
        pixels = family.decode(family.unpacked(latents, height, width))
        pictures: Sequence[Any] = pipeline.image_processor.postprocess(pixels.float(), output_type="pil")
        return pictures

    return sampled(denoiser, prompts, n, seed, options.batch_size, make)


def _check_eta(scheduler: Any, eta: float) -> None:
    if eta and "eta" not in inspect.signature(scheduler.step).parameters:
        raise UserError(f"Sampling: eta is {eta}, and {type(scheduler).__name__} has no eta.", "Leave it out.")


def _arguments(
    family: ImageFamily, pipeline: Any, height: int, width: int, options: ImageSamplingOptions
) -> dict[str, Any]:
    """What every call of the pipeline takes."""
    parameters = inspect.signature(type(pipeline).__call__).parameters
    scale = 1 if family.pipeline.vae is not None else PIXEL_FACTOR
    guidance = options.guidance_scale
    arguments: dict[str, Any] = {
        "height": height * scale,
        "width": width * scale,
        "guidance_scale": parameters["guidance_scale"].default if guidance is None else guidance,
        "num_inference_steps": options.steps or parameters["num_inference_steps"].default,
    }
    return arguments | ({"eta": options.eta} if "eta" in parameters else {})


def _text(family: ImageFamily, prompts: Sequence[str], denoiser: nn.Module) -> dict[str, torch.Tensor]:
    """The prompts' encodings, numbers in the denoiser's type; each different prompt is encoded once."""
    different = list(dict.fromkeys(prompts))
    index = torch.tensor([different.index(prompt) for prompt in prompts])
    encoded = family.encode_prompts(different)
    dtype = weights_dtype(denoiser)
    placed = {name: values[index.to(values.device)] for name, values in encoded.items()}
    return {name: values.to(dtype) if values.is_floating_point() else values for name, values in placed.items()}
