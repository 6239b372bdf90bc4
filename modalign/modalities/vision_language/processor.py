"""Loading a processor: what turns text with images into a vision-language model's inputs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import ConfigError, UserError
from modalign.core.hub import resolve_model
from modalign.modalities.explained import explained
from modalign.modalities.text.loading import ADAPTER_CONFIG, base_of, is_adapter

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def load_processor(name: str, revision: str | None, trust_remote_code: bool) -> Any:
    """The processor of a hub id or folder; that of its base model where an adapter's folder holds none.

    Raises:
        UserError: It cannot be found or read, or takes no images.
    """
    # Data workers are forked from a process that has tokenised: tokenizers would warn of a deadlock in each of them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import AutoProcessor

    folder = resolve_model(name, (*PROCESSOR_FILES, ADAPTER_CONFIG, "config.json"), revision)
    if is_adapter(folder) and not any((Path(folder) / file).is_file() for file in PROCESSOR_FILES):
        return load_processor(base_of(folder), None, trust_remote_code)
    with explained(f"the processor of {name!r}"):
        processor = AutoProcessor.from_pretrained(folder, revision=revision, trust_remote_code=trust_remote_code)
    missing = [part for part in ("tokenizer", "image_processor") if getattr(processor, part, None) is None]
    if missing:
        raise UserError(
            f"What {name!r} has is a {type(processor).__name__} without {' and '.join(missing)}.",
            f"Name a vision-language model, whose folder holds {PROCESSOR_FILES[0]} or {PROCESSOR_FILES[1]}; the text "
            "modality takes models without images.",
        )
    return processor


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
            "The processor has no chat template, which prompts with images are written by.",
            "Set modality.chat_template to a Jinja file, or name a modality.processor that has one.",
        )
    processor.chat_template = template


def placeholders(processor: Any) -> tuple[str, ...]:
    """The texts that stand for an image, video or sound, which nobody may write as plain text."""
    tokenizer = processor.tokenizer
    found = [getattr(owner, f"{kind}_token", None) for owner in (processor, tokenizer) for kind in ("image", "video")]
    found.append(getattr(processor, "audio_token", None))
    return tuple(dict.fromkeys(token for token in found if isinstance(token, str) and token))
