"""Pictures from a policy, by the diffusers pipeline it belongs to: the real one, around the policy's own weights.

Each picture's noise is a function of (seed, prompt, draw) alone, so it does not depend on what else is sampled; equal
up to float rounding, since a batch of another size may be computed in another order.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from modalign.core.errors import UserError, did_you_mean
from modalign.core.keys import generator
from modalign.modalities.diffusion.sampling import pipeline_around
from modalign.modalities.image.families.base import Geometry, ImageFamily
from modalign.modalities.modes import eval_mode, unwrapped, weights_dtype

PIXEL_FACTOR = 8
"""By what diffusers' pipelines divide height and width where they have no VAE to ask."""


@dataclass(frozen=True)
class SamplingOptions:
    """How pictures are drawn.

    Args:
        steps: Denoising steps; None for the pipeline's own.
        guidance_scale: How far to follow the prompt (Ho and Salimans 2022, arXiv 2207.12598); 1 is without guidance,
            None the pipeline's own.
        negative_prompt: What to keep away from.
        height: In pixels; None for the resolution of training, or the next below it that the pipeline makes.
        width: As the height.
        eta: How much noise DDIM adds (Song et al. 2020, arXiv 2010.02502), from 0 to 1.
        batch_size: How many pictures are made at once.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str = ""
    height: int | None = None
    width: int | None = None
    eta: float = 0.0
    batch_size: int = 4

    def __post_init__(self) -> None:
        for name in ("steps", "height", "width", "batch_size"):
            value = getattr(self, name)
            if value is None and name != "batch_size":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"Sampling: {name} is {value!r}.", "Give a whole number, at least 1.")
        if self.guidance_scale is not None and not (_number(self.guidance_scale) and self.guidance_scale >= 0):
            raise UserError(f"Sampling: guidance_scale is {self.guidance_scale!r}.", "Give a number, at least 0.")
        if not (_number(self.eta) and 0 <= self.eta <= 1):
            raise UserError(f"Sampling: eta is {self.eta!r}.", "Give a number from 0 to 1.")
        if not isinstance(self.negative_prompt, str):
            raise UserError(f"Sampling: negative_prompt is {self.negative_prompt!r}.", "Give a text.")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sampling_options(options: Mapping[str, Any]) -> SamplingOptions:
    """The options by name.

    Raises:
        UserError: There is no such option, or one is out of its range.
    """
    known = [option.name for option in fields(SamplingOptions)]
    for name in options:
        if name not in known:
            raise UserError(f"Sampling has no option {name!r}.", did_you_mean(name, known).capitalize())
    return SamplingOptions(**options)


def sample_images(
    family: ImageFamily,
    denoiser: nn.Module,
    prompts: Sequence[str],
    n: int,
    seed: int,
    geometry: Geometry,
    resolution: int,
    options: SamplingOptions,
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
    _check(family, geometry, prompts, n, options)
    side = geometry.nearest_sampled(resolution)
    height, width = options.height or side, options.width or side
    geometry.check_sampled("Sampling: height", height)
    geometry.check_sampled("Sampling: width", width)
    pipeline = pipeline_around(family, unwrapped(denoiser), without=("text_encoder", "tokenizer"))
    arguments = _arguments(family, pipeline, height, width, options)
    jobs = [(prompt, draw) for prompt in prompts for draw in range(n)]
    pictures: list[Any] = []
    device = next(denoiser.parameters()).device
    with eval_mode(denoiser), torch.no_grad(), torch.autocast(device.type, enabled=False):
        for start in range(0, len(jobs), options.batch_size):
            chosen = jobs[start : start + options.batch_size]
            text = _text(family, [prompt for prompt, _ in chosen], denoiser)
            negative = _text(family, [options.negative_prompt] * len(chosen), denoiser)
            call = family.call_arguments(text, negative, arguments["guidance_scale"])
            sources = [generator(seed, "sample", prompt, draw) for prompt, draw in chosen]
            latents = pipeline(**{**arguments, **call}, generator=sources, output_type="latent").images
            pixels = family.decode(family.unpacked(latents, height, width))
            pictures += pipeline.image_processor.postprocess(pixels.float(), output_type="pil")
    return [pictures[start : start + n] for start in range(0, len(jobs), n)]


def _check(family: ImageFamily, geometry: Geometry, prompts: Sequence[str], n: int, options: SamplingOptions) -> None:
    if n < 1:
        raise UserError(f"Sampling: n is {n}; it counts pictures a prompt.", "Ask for at least 1.")
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise UserError(f"Sampling: a prompt is {prompt!r}, no text.", "Give texts.")
    family.check_sampling(options.guidance_scale, options.negative_prompt)
    scheduler = family.pipeline.scheduler
    if options.eta and "eta" not in inspect.signature(scheduler.step).parameters:
        raise UserError(f"Sampling: eta is {options.eta}, and {type(scheduler).__name__} has no eta.", "Leave it out.")


def _arguments(family: ImageFamily, pipeline: Any, height: int, width: int, options: SamplingOptions) -> dict[str, Any]:
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
