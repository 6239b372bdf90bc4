"""What frozen encoders make of one medium or prompt: the same whether it is computed now or read from disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modalign.core.errors import ConfigError, UserError, did_you_mean

CacheDtype = Literal["float16", "bfloat16", "float32", "float64"]
CACHES = ("disk", "off")
CACHE_DTYPES = ("float16", "bfloat16", "float32", "float64")
RECORD_VERSION = 1
"""To be raised when the same content and encoders give another record; part of the keys of all that is kept."""

Record = dict[str, Tensor]
"""Tensors by name, without a dimension of cells."""


@dataclass(frozen=True)
class CacheOptions:
    """Whether and how what the frozen encoders make is kept.

    Attributes:
        cache: `disk` keeps it in a folder, `off` computes it anew each time.
        folder: Where; None for `frozen` in the folder `MODALIGN_CACHE`, or `~/.cache/modalign`.
        dtype: What it is rounded to, also where it is not kept, so that a cache changes no number.

    Raises:
        ConfigError: A value is unknown.
    """

    cache: Literal["disk", "off"] = "disk"
    folder: str | None = None
    dtype: CacheDtype = "float16"

    def __post_init__(self) -> None:
        for name, value, known in (("cache", self.cache, CACHES), ("cache_dtype", self.dtype, CACHE_DTYPES)):
            if value not in known:
                raise ConfigError(f"modality.{name} is {value!r}.", did_you_mean(str(value), known))
        if self.folder is not None and self.cache == "off":
            raise ConfigError("modality.cache_folder is given, and modality.cache is off.", "Leave one of them out.")


def medium_record(mean: Tensor, std: Tensor, dtype: torch.dtype | None) -> Record:
    """A medium's clean latents: `mean`, and `std` unless it is 0 throughout.

    Args:
        mean: Of the latents' distribution.
        std: Of the same shape.
        dtype: What they are rounded to; None for no rounding.

    Raises:
        UserError: The dtype cannot hold them.
    """
    record = {"mean": mean, "std": std} if bool((std != 0).any()) else {"mean": mean}
    return {name: _rounded(values, dtype, "latents") for name, values in record.items()}


def prompt_record(encoded: Mapping[str, Tensor], dtype: torch.dtype | None) -> Record:
    """A prompt's encodings; integers and masks stay as they are.

    Args:
        encoded: By name, each `(1, ...)`.
        dtype: What floating-point ones are rounded to; None for no rounding.

    Raises:
        UserError: The dtype cannot hold them.
    """
    return {name: _rounded(values[0], dtype, "prompt encodings") for name, values in encoded.items()}


def stacked(records: list[Record]) -> Record:
    """Records of equal form as one, with a dimension of cells."""
    # Under autocast, a CPU refuses to stack float16.
    device = next(iter(records[0].values())).device.type
    with torch.autocast(device, enabled=False):
        return {name: torch.stack([record[name] for record in records]) for name in records[0]}


def stacked_prompts(records: list[Record]) -> Record:
    """As `stacked`, for prompts: those with fewer tokens, their first dimension, are filled up with zeros."""
    longest = {name: max(len(record[name]) for record in records) for name, first in records[0].items() if first.dim()}
    return stacked(
        [{**record, **{name: _filled(record[name], longest[name]) for name in longest}} for record in records]
    )


def _filled(values: Tensor, length: int) -> Tensor:
    filled = values.new_zeros(length, *values.shape[1:])
    filled[: len(values)] = values  # under autocast, a CPU refuses to put float16 together
    return filled


def widened(values: Tensor) -> Tensor:
    """Floating-point values in float32 at least; others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32)) if values.is_floating_point() else values


def _rounded(values: Tensor, dtype: torch.dtype | None, what: str) -> Tensor:
    if dtype is None or not values.is_floating_point():
        return values
    rounded = values.to(dtype)
    if not bool(torch.isfinite(rounded).all()):
        largest = f"{values.abs().max().item():.3g}"
        raise UserError(
            f"The {what} do not fit {str(dtype).removeprefix('torch.')}: the largest is {largest}.",
            "Set modality.cache_dtype: float32 or bfloat16"
            + (", and modality.encoder_dtype: float32: the encoder itself overflows." if "n" in largest else "."),
        )
    return rounded
