"""Writing a policy as a diffusers pipeline folder, or its adapter as a LoRA file that diffusers loads."""

import copy
from pathlib import Path
from typing import Any

from torch import nn

from modalign.core.errors import UserError
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.loading import PipelineSource, pipeline_class
from modalign.modalities.diffusion.stored_dtypes import weights_dtypes
from modalign.modalities.explained import explained
from modalign.modalities.folders import new_folder
from modalign.modalities.modes import is_peft_model

ADAPTER_PREFIX = "base_model.model."
"""What peft puts before the names of the modules of a model that it wraps."""


def export_pipeline(
    policy: Any, source: PipelineSource, family: type[DiffusionFamily], folder: Path, card: str, overwrite: bool
) -> None:
    """Write the pipeline that a policy came from, with the policy in place of its denoiser; the policy stays as it is.

    All other parts are read again from where they came from, since those in memory may be fewer and in another
    precision; each is written in the dtype it has there, and the policy in its own.

    Args:
        policy: A denoiser, or a peft model around one, which is merged in a copy.
        source: Where it came from.
        family: Of the pipeline.
        folder: Must not exist, unless `overwrite`.
        card: The text of README.md.
        overwrite: Whether an existing folder is replaced.

    Raises:
        UserError: The folder exists or cannot be written, or the other parts cannot be read.
    """
    index, built = source.index(), pipeline_class(source)
    denoiser = copy.deepcopy(policy).merge_and_unload() if is_peft_model(policy) else policy
    absent = [name for name, value in index.items() if isinstance(value, list) and value[0] is None]
    with new_folder(folder, overwrite) as target:
        with explained(f"the pipeline {source.model!r}"):
            given = {**dict.fromkeys(absent), family.denoiser_part: denoiser, **source.arguments()}
            place = source.resolved()
            stored = Path(place if Path(place).is_dir() else built.download(place, **given))
            dtypes = weights_dtypes(stored, source.variant)
            dtypes.pop(family.denoiser_part, None)
            pipeline = built.from_pretrained(place, dtype=dtypes, **given)
            for name, dtype in dtypes.items():
                if isinstance(part := pipeline.components.get(name), nn.Module):
                    part.to(dtype)  # transformers keeps some layers in float32 where the dtype is float16
        pipeline.save_pretrained(target)
        (target / "README.md").write_text(card, encoding="utf-8")


def export_lora(
    policy: Any, source: PipelineSource, family: type[DiffusionFamily], folder: Path, card: str, overwrite: bool
) -> None:
    """Write an adapter as `pytorch_lora_weights.safetensors`, for `load_lora_weights` of the pipeline's class.

    Args:
        policy: A peft model around a denoiser.
        source: Where the denoiser came from.
        family: Of the pipeline.
        folder: Must not exist, unless `overwrite`.
        card: The text of README.md.
        overwrite: Whether an existing folder is replaced.

    Raises:
        UserError: The folder exists or cannot be written, or the pipeline's class reads no LoRA files.
    """
    from peft import get_peft_model_state_dict

    built = pipeline_class(source)
    if not hasattr(built, "save_lora_weights"):
        raise UserError(f"{built.__name__} reads no LoRA files.", "Export with `merge: true`.")
    weights = {
        key.removeprefix(ADAPTER_PREFIX): value.detach().cpu().contiguous()
        for key, value in get_peft_model_state_dict(policy).items()
    }
    part = family.denoiser_part
    with new_folder(folder, overwrite) as target:
        built.save_lora_weights(
            target, **{f"{part}_lora_layers": weights, f"{part}_lora_adapter_metadata": _metadata(policy)}
        )
        (target / "README.md").write_text(card, encoding="utf-8")


def _metadata(policy: nn.Module) -> dict[str, Any]:
    """The adapter's settings, without which diffusers would take alpha to be the rank."""
    config: dict[str, Any] = policy.peft_config["default"].to_dict()  # type: ignore[index,union-attr]
    return {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
