"""In which precision the files of a pipeline hold its parts."""

from functools import reduce
from pathlib import Path

import torch
from safetensors import safe_open

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
"""Of floating-point numbers, by their names in safetensors files."""


def weights_dtypes(folder: Path, variant: str | None = None) -> dict[str, torch.dtype]:
    """For each part of a pipeline that has weights, the dtype that holds all of them as its files do.

    Args:
        folder: Of the pipeline, on this machine.
        variant: Of the weight files; parts without such files are read from the plain ones, as diffusers does.
    """
    dtypes = {}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(part.glob("*.safetensors"))
        plain = [file for file in files if file.name.count(".") == 1]
        chosen = [file for file in files if variant is not None and _is_of(file, variant)] or plain
        found = [dtype for file in chosen for dtype in _file_dtypes(file)]
        if found:
            dtypes[part.name] = reduce(torch.promote_types, found)
    return dtypes


def _is_of(file: Path, variant: str) -> bool:
    return f".{variant}." in file.name or f".{variant}-" in file.name


def _file_dtypes(file: Path) -> set[torch.dtype]:
    with safe_open(file, framework="pt") as weights:
        stored = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    return {_DTYPES[name] for name in stored if name in _DTYPES}
