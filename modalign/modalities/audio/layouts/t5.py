"""T5 in models whose authors publish its weights among their own, and its tokenizer not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model


def text_encoder(folder: Path, name: str, weights: Mapping[str, Tensor]) -> tuple[Any, Any]:
    """The text encoder with the model's own weights, and its tokenizer.

    Args:
        folder: Of the model.
        name: What its configuration calls the text encoder.
        weights: Of the model; the encoder's begin with `text_encoder.`.

    Raises:
        UserError: The encoder is no T5, or cannot be found.
    """
    from transformers import AutoConfig, AutoTokenizer, T5EncoderModel

    place = place_of(folder, name, "config.json")
    config = AutoConfig.from_pretrained(place)
    if config.model_type != "t5":
        raise UserError(f"The text encoder {name!r} is a {config.model_type}, no T5.", "Name a model with T5.")
    encoder = T5EncoderModel(config)
    own = part_of("text_encoder.", weights)
    own.setdefault("encoder.embed_tokens.weight", own["shared.weight"])
    encoder.load_state_dict(own)
    return encoder.eval(), AutoTokenizer.from_pretrained(place)


def part_of(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights whose names begin so, without it."""
    return {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}


def place_of(folder: Path, name: str, *files: str) -> str:
    """What a configuration names: a folder beside it, another folder, or a hub id.

    Raises:
        UserError: There is no such thing.
    """
    return str(folder / name) if (folder / name).is_dir() else resolve_model(name, files)
