"""The diffusers pipeline that a policy belongs to, put together around the policy's own weights."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from modalign.modalities.diffusion.family import DiffusionFamily


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
