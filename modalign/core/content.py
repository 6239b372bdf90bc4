"""Hashes of content: of encoded rows and of model weights."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn


def content_hash(value: Any) -> str:
    """A hash of nested containers, dataclasses, tensors, PIL images and plain values; equal content gives equal hashes.

    An object with a method `content_key()` is hashed as what that returns.

    Raises:
        TypeError: Something in it is of a type whose content is not defined here.
    """
    digest = blake2b(digest_size=16)
    _feed(digest, value)
    return digest.hexdigest()


def short_hash(value: Any) -> int:
    """A number of 60 bits, for tables of many rows; equal content gives equal numbers, and in practice only it does.

    Raises:
        TypeError: As `content_hash`.
    """
    return int(content_hash(value)[:15], 16)


def weights_hash(model: nn.Module) -> str:
    """A hash of all of a model's parameters and buffers, by name, shape, dtype and value; about a second a gigabyte."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_array(tensor))
    return digest.hexdigest()


def _array(tensor: Tensor) -> Any:
    """A tensor's bytes, without a copy where it is on the CPU already."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _feed(digest: "blake2b", value: Any) -> None:
    """Every value goes in with its type and length, so that no two structures share a byte stream."""
    if hasattr(value, "content_key"):
        _feed(digest, value.content_key())
    elif isinstance(value, Tensor):
        digest.update(f"tensor{tuple(value.shape)}{value.dtype}".encode())
        digest.update(_array(value))
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(digest, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, Mapping):
        digest.update(f"mapping{len(value)}".encode())
        for key in sorted(value, key=str):
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"sequence{len(value)}".encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, bytes):
        digest.update(f"bytes{len(value)}".encode() + value)
    elif type(value).__module__.startswith("PIL."):
        pixels = value.tobytes()
        digest.update(f"picture{value.mode}{value.size}{len(pixels)}".encode() + pixels)
    elif value is None or isinstance(value, str | int | float | bool):
        text = repr(value).encode()
        digest.update(f"{type(value).__name__}{len(text)}".encode() + text)
    else:
        raise TypeError(f"no content hash is defined for {type(value).__name__}")
