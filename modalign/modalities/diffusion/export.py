"""Writing a policy as a diffusers pipeline folder, or its adapter as a file or folder that diffusers or peft loads."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.loading import PipelineSource, own_target, pipeline_class
from modalign.modalities.diffusion.own_pipelines import write_code
from modalign.modalities.diffusion.stored_dtypes import weights_dtypes
from modalign.modalities.explained import explained
from modalign.modalities.folders import new_folder
from modalign.modalities.lora import Lora
from modalign.modalities.modes import is_peft_model

ADAPTER_PREFIX = "base_model.model."
"""What peft puts before the names of the modules of a model that it wraps."""
EXPORT_OPTIONS = ("merge", "overwrite")
LOAD_CODE = """## Loading

diffusers has no class for this pipeline; the folder brings its own, in `pipeline.py`, which has to be allowed to run:

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
```
"""
LOAD_LORA = """## Loading

`pipeline.load_lora_weights(folder)`, where `pipeline` is the base model's.
"""
LOAD_ADAPTER = """## Loading

This pipeline's class reads no LoRA files, so the adapter is a folder of peft's, for the pipeline's {part}:

```python
from peft import PeftModel

pipeline.{part} = PeftModel.from_pretrained(pipeline.{part}, folder).merge_and_unload()
```
"""


def export_policy(
    policy: Any,
    source: PipelineSource,
    family: type[DiffusionFamily],
    folder: Path,
    card: str,
    merge: bool,
    overwrite: bool,
) -> None:
    """Write a policy as a pipeline folder, or unmerged its adapter alone; see `export_pipeline`, `export_adapter`."""
    write = export_pipeline if merge else export_adapter
    write(policy, source, family, folder, card, overwrite)


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
        card: The text of README.md, without how a pipeline of a class that diffusers lacks is loaded.
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
        code = own_target(source)
        if code is not None:
            write_code(code, target)
            card = f"{card}\n{LOAD_CODE}"
        (target / "README.md").write_text(card, encoding="utf-8")


def export_adapter(
    policy: Any, source: PipelineSource, family: type[DiffusionFamily], folder: Path, card: str, overwrite: bool
) -> None:
    """Write an adapter alone, with a card that says how it is loaded.

    For pipelines that read LoRA files it is `pytorch_lora_weights.safetensors`, for their `load_lora_weights`; for
    others a folder of peft's, for the denoiser.

    Args:
        policy: A peft model around a denoiser.
        source: Where the denoiser came from.
        family: Of the pipeline.
        folder: Must not exist, unless `overwrite`.
        card: The text of README.md, without how the adapter is loaded.
        overwrite: Whether an existing folder is replaced.

    Raises:
        UserError: The folder exists or cannot be written.
    """
    part = family.denoiser_part
    with new_folder(folder, overwrite) as target:
        if reads_lora_files(source):
            _write_lora(policy, pipeline_class(source), part, target)
            loading = LOAD_LORA
        else:
            policy.save_pretrained(target, save_embedding_layers=False)  # else peft asks the hub
            loading = LOAD_ADAPTER.format(part=part)
        (target / "README.md").write_text(f"{card}\n{loading}", encoding="utf-8")


def reads_lora_files(source: PipelineSource) -> bool:
    """Whether a pipeline's class writes and loads LoRA files."""
    built = pipeline_class(source)
    return hasattr(built, "save_lora_weights") and hasattr(built, "load_lora_weights")


def check_export_options(options: Mapping[str, Any], lora: Lora | None, source: PipelineSource, media: str) -> None:
    """Refuse options of an export that would be ignored, or cannot be had.

    Args:
        options: By name.
        lora: The policy's adapter.
        source: Of the pipeline.
        media: What it makes, for messages.

    Raises:
        UserError: Naming the option.
    """
    for name in options:
        if name not in EXPORT_OPTIONS:
            raise UserError(f"Exporting {media} has no option {name!r}.", did_you_mean(name, EXPORT_OPTIONS))
    if options.get("merge", True):
        return
    if lora is None:
        raise UserError(
            "Only an adapter can be written unmerged, and this policy has none.",
            "Leave --adapter out; in a config, export.options.merge.",
        )
    if lora.modules_to_save and reads_lora_files(source):
        raise UserError(
            "A LoRA file holds no module that was trained in full (lora.modules_to_save).",
            "Export with `merge: true`.",
        )


def _write_lora(policy: Any, built: Any, part: str, target: Path) -> None:
    from peft import get_peft_model_state_dict

    weights = {
        key.removeprefix(ADAPTER_PREFIX): value.detach().cpu().contiguous()
        for key, value in get_peft_model_state_dict(policy).items()
    }
    built.save_lora_weights(
        target, **{f"{part}_lora_layers": weights, f"{part}_lora_adapter_metadata": _metadata(policy)}
    )


def _metadata(policy: nn.Module) -> dict[str, Any]:
    """The adapter's settings, without which diffusers would take alpha to be the rank."""
    config: dict[str, Any] = policy.peft_config["default"].to_dict()  # type: ignore[index,union-attr]
    return {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
