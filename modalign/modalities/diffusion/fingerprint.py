"""What of a pipeline's frozen parts decides latents and conditionings, as hashes."""

import json
from collections.abc import Iterable
from typing import Any

from torch import nn

from modalign.core.content import content_hash, weights_hash

_SET_BY_CALLS = ("padding", "truncation")


def parts_hash(pipeline: Any, names: Iterable[str]) -> str:
    """A hash of the content of some of a pipeline's components: weights, configurations, vocabularies.

    Args:
        pipeline: Of diffusers.
        names: Of components; those that the pipeline lacks count as missing.
    """
    return content_hash({name: _content(getattr(pipeline, name, None)) for name in names})


def text_part_names(text_parts: Iterable[str]) -> list[str]:
    """The text encoders' names and those of their tokenizers, which share their numbers."""
    return [name for part in text_parts for name in (part, part.replace("text_encoder", "tokenizer"))]


def _content(part: Any) -> Any:
    if part is None:
        return None
    if isinstance(part, nn.Module):
        return [type(part).__name__, plain_config(part.config), weights_hash(part)]
    if hasattr(part, "get_vocab"):
        backend = getattr(part, "backend_tokenizer", None)
        rules = sorted(part.get_vocab().items()) if backend is None else _rules(backend.to_str())
        return [type(part).__name__, rules, part.model_max_length]
    return [type(part).__name__, plain_config(part.config)]


def _rules(written: str) -> str:
    """A tokenizer's rules without its padding and truncation, which each call sets anew."""
    return json.dumps({name: value for name, value in json.loads(written).items() if name not in _SET_BY_CALLS})


def plain_config(config: Any) -> str:
    """A configuration as text, without what says only where and by which version it was written.

    Args:
        config: A mapping, or an object with `to_dict()`.
    """
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return json.dumps(
        {name: value for name, value in values.items() if not name.startswith("_")}, default=repr, sort_keys=True
    )
