"""Loading a processor: what turns text with media into a model's inputs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modalign.core.errors import ConfigError, UserError
from modalign.core.hub import resolve_model
from modalign.modalities.explained import explained
from modalign.modalities.text.loading import ADAPTER_CONFIG, base_of, is_adapter

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")

TOKENS = frozenset({"input_ids", "attention_mask", "labels"})
"""What a processor returns beside a prompt's media: `labels` (PaliGemma) would train on the prompt."""

TOKEN_WISE = frozenset({"token_type_ids", "mm_token_type_ids", "cross_attention_mask"})
MEDIA_WISE = ("pixel", "image", "aspect_ratio", "spatial", "input_features", "feature_attention", "audio")


def load_processor(
    name: str,
    revision: str | None,
    trust_remote_code: bool,
    parts: Sequence[str],
    models: str,
) -> Any:
    """The processor of a hub id or folder; that of its base model where an adapter's folder holds none.

    Args:
        name: Hub id or folder.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Whether the repository's own Python code may run.
        parts: The attributes of which one holds what processes the media.
        models: What a model that has it is called, for messages.

    Raises:
        UserError: It cannot be found or read, or does not take the media.
    """
    # Data workers are forked from a process that has tokenised: tokenizers would warn of a deadlock in each of them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import AutoProcessor

    folder = resolve_model(name, (*PROCESSOR_FILES, ADAPTER_CONFIG, "config.json"), revision)
    if is_adapter(folder) and not any((Path(folder) / file).is_file() for file in PROCESSOR_FILES):
        return load_processor(base_of(folder), None, trust_remote_code, parts, models)
    with explained(f"the processor of {name!r}"):
        processor = AutoProcessor.from_pretrained(folder, revision=revision, trust_remote_code=trust_remote_code)
    missing = [names[0] for names in (("tokenizer",), parts) if part_of(processor, names) is None]
    if missing:
        raise UserError(
            f"What {name!r} has is a {type(processor).__name__} without {' and '.join(missing)}.",
            f"Name {models}, whose folder holds {PROCESSOR_FILES[0]} or {PROCESSOR_FILES[1]}; the text "
            "modality takes models of text alone.",
        )
    return processor


def part_of(processor: Any, names: Sequence[str]) -> Any:
    """The part of a processor that has one of these names; None where it has none."""
    return next((part for name in names if (part := getattr(processor, name, None)) is not None), None)


def set_chat_template(processor: Any, template: str | None) -> None:
    """Give a processor the template of the option, or its tokenizer's where it has none.

    Raises:
        ConfigError: There is none at all.
    """
    template = template or processor.chat_template or getattr(processor.tokenizer, "chat_template", None)
    if isinstance(template, Mapping) and "default" not in template:
        raise ConfigError(
            f"The processor has chat templates called {', '.join(template)}, and none called 'default'.",
            "Set modality.chat_template to the one to use.",
        )
    if template is None:
        raise ConfigError(
            "The processor has no chat template, which prompts with media are written by.",
            "Set modality.chat_template to a Jinja file, or name a modality.processor that has one.",
        )
    processor.chat_template = template


def placeholders(processor: Any) -> tuple[str, ...]:
    """The texts that stand for an image, video or sound, which nobody may write as plain text."""
    tokenizer = processor.tokenizer
    found = [getattr(owner, f"{kind}_token", None) for owner in (processor, tokenizer) for kind in ("image", "video")]
    found.append(getattr(processor, "audio_token", None))
    return tuple(dict.fromkeys(token for token in found if isinstance(token, str) and token))


def by_kind(encoded: Mapping[str, Any], length: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a processor returned beside ids: `(P, ...)` values of tokens, and tensors of media as they are.

    Raises:
        ConfigError: Something is no tensor.
    """
    token_wise, media = {}, {}
    for name, value in encoded.items():
        if name in TOKENS:
            continue
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"The processor returns {name!r} as {type(value).__name__}, which cannot be put into a batch.",
                "Use a processor that returns tensors, or report the model's name.",
            )
        of_tokens = value.shape[:2] == torch.Size((1, length)) and not name.startswith(MEDIA_WISE)
        if name in TOKEN_WISE or of_tokens:
            token_wise[name] = value[0]
        else:
            media[name] = value
    return token_wise, media
