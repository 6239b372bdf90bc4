"""What sampling by diffusers pipelines shares: a policy in its pipeline, options, and noise that the batch does not
decide.

Each sample's noise is a function of (seed, prompt, draw) alone, so it does not depend on what else is sampled; samples
are equal up to float rounding, since a batch of another size may be computed in another order.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import nn

from modalign.core.errors import UserError, did_you_mean
from modalign.core.keys import generator
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.modes import eval_mode, weights_dtype


@dataclass(frozen=True)
class SamplingOptions:
    """How samples are drawn.

    Args:
        steps: Denoising steps; None for the pipeline's own.
        guidance_scale: How far to follow the prompt (Ho and Salimans 2022, arXiv 2207.12598); 1 is without guidance,
            None the pipeline's own.
        negative_prompt: What to keep away from.
        batch_size: How many samples are made at once.

    Raises:
        UserError: A value is out of its range.
    """

    counts: ClassVar[tuple[str, ...]] = ("steps", "batch_size")

    steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str = ""
    batch_size: int = 4

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The options by name.

        Raises:
            UserError: There is no such option, or one is out of its range.
        """
        known = [option.name for option in fields(cls)]
        for name in options:
            if name not in known:
                raise UserError(f"Sampling has no option {name!r}.", did_you_mean(name, known).capitalize())
        return cls(**options)

    def __post_init__(self) -> None:
        for name in self.counts:
            value = getattr(self, name)
            if value is None and name != "batch_size":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"Sampling: {name} is {value!r}.", "Give a whole number, at least 1.")
        if self.guidance_scale is not None and not (is_number(self.guidance_scale) and self.guidance_scale >= 0):
            raise UserError(f"Sampling: guidance_scale is {self.guidance_scale!r}.", "Give a number, at least 0.")
        if not isinstance(self.negative_prompt, str):
            raise UserError(f"Sampling: negative_prompt is {self.negative_prompt!r}.", "Give a text.")


def is_number(value: Any) -> bool:
    """Whether an option's value is a number; a yes or no is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def sampled(
    denoiser: nn.Module,
    prompts: Sequence[str],
    n: int,
    seed: int,
    batch_size: int,
    make: Callable[[list[str], list[torch.Generator]], Sequence[Any]],
) -> list[list[Any]]:
    """`n` samples for each prompt, made in batches, without gradient, the denoiser in evaluation mode.

    Args:
        denoiser: A policy; its modes are as before afterwards.
        prompts: The same ones give the same samples.
        n: Samples a prompt.
        seed: Another seed, other samples.
        batch_size: How many are made at once.
        make: From a batch's prompts and generators to its samples.

    Raises:
        UserError: `n` is no count, or a prompt is no text.
    """
    if n < 1:
        raise UserError(f"Sampling: n is {n}; it counts samples a prompt.", "Ask for at least 1.")
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise UserError(f"Sampling: a prompt is {prompt!r}, no text.", "Give texts.")
    jobs = [(prompt, draw) for prompt in prompts for draw in range(n)]
    made: list[Any] = []
    device = next(denoiser.parameters()).device
    with eval_mode(denoiser), torch.no_grad(), torch.autocast(device.type, enabled=False):
        for start in range(0, len(jobs), batch_size):
            chosen = jobs[start : start + batch_size]
            sources = [generator(seed, "sample", prompt, draw) for prompt, draw in chosen]
            made += make([prompt for prompt, _ in chosen], sources)
    return [made[start : start + n] for start in range(0, len(jobs), n)]


def pipeline_around(family: DiffusionFamily, denoiser: Any, without: Sequence[str] = ()) -> Any:
    """The family's pipeline with a denoiser in it and a scheduler of its own.

    Args:
        family: Holds the other parts.
        denoiser: Of diffusers, not wrapped.
        without: How the names of parts begin that are left out.
    """
    bare = family.pipeline
    absent = [name for name in bare.components if name.startswith(tuple(without))]
    given = inspect.signature(type(bare).__init__).parameters
    parts = {**bare.components, **dict.fromkeys(absent), family.denoiser_part: denoiser}
    parts["scheduler"] = copy.deepcopy(bare.scheduler)
    settings = {name: value for name, value in bare.config.items() if name in given and name not in parts}
    pipeline = type(bare)(**parts, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def own_precision(denoiser: nn.Module) -> Iterator[None]:
    """A context in which a denoiser can be called in another precision than its weights', and answers in the caller's.

    For pipelines that know one precision alone, where the policy and the encoders have two. Latents come first, or are
    called `hidden_states`. Times stay as they are: denoisers embed them before they round them.
    """
    dtype = weights_dtype(denoiser)
    asked = dtype

    def before(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        nonlocal asked
        asked = (args[0] if args else options["hidden_states"]).dtype
        given = {name: value if name == "timestep" else _cast(value, dtype) for name, value in options.items()}
        return tuple(_cast(value, dtype) if not place else value for place, value in enumerate(args)), given

    def after(module: nn.Module, args: Any, answer: Any) -> Any:
        if isinstance(answer, Mapping):  # an output class of diffusers
            return type(answer)(**{name: _cast(value, asked) for name, value in answer.items()})
        return tuple(_cast(value, asked) for value in answer)

    handles = denoiser.register_forward_pre_hook(before, with_kwargs=True), denoiser.register_forward_hook(after)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def any_precision(*parts: nn.Module) -> Iterator[None]:
    """A context in which frozen parts can be called in another precision than their weights', in which they answer.

    For pipelines that call them in the denoiser's.
    """

    def before(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        dtype = weights_dtype(module)
        return tuple(_cast(value, dtype) for value in args), {
            name: _cast(value, dtype) for name, value in options.items()
        }

    handles = [part.register_forward_pre_hook(before, with_kwargs=True) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _cast(values: Any, dtype: torch.dtype) -> Any:
    return values.to(dtype) if isinstance(values, torch.Tensor) and values.is_floating_point() else values
