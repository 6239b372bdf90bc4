"""Loading the frozen codec that belongs to a model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.modalities.audio.tokens.family import TokenSource
from modalign.modalities.explained import explained
from modalign.modalities.text.loading import check_report

_NAMING_FILE = "audio_tokenizer_config.json"
"""Of processors that were saved by older versions of transformers."""


@contextmanager
def frozen(codec: nn.Module, device: torch.device) -> Iterator[None]:
    """A context in which a codec runs on a device in its own precision, whatever the trainer's."""
    codec.to(device)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_default_dtype(default)


def part_of_model(source: TokenSource, class_name: str, part: str, config: Any) -> nn.Module:
    """A codec whose weights are in the model's own files; no other weights are read.

    Args:
        source: Of the model.
        class_name: The codec's class in transformers.
        part: Its name within the model.
        config: Of the codec.

    Raises:
        UserError: It cannot be loaded, or weights are missing.
    """
    return _loaded(source.folder, source.revision, class_name, config=config, key_mapping={rf"^{part}\.": ""})


def codec_place(source: TokenSource) -> str:
    """The folder or hub id of the codec that a processor names.

    Raises:
        UserError: The processor names none.
    """
    named = _json(source, "processor_config.json").get("audio_tokenizer") or _json(source, _NAMING_FILE)
    place = named.get("audio_tokenizer_name_or_path")
    if not place:
        raise UserError(
            f"The processor of {source.processor!r} names no codec.", "Name the processor that belongs to the model."
        )
    return str(place)


def codec_named_by_processor(source: TokenSource, class_name: str) -> nn.Module:
    """A codec in a folder or repository of its own.

    Args:
        source: Of the processor that names it.
        class_name: Its class in transformers.

    Raises:
        UserError: It cannot be loaded, or weights are missing.
    """
    return _loaded(codec_place(source), None, class_name)


def _json(source: TokenSource, name: str) -> dict[str, Any]:
    """A file of a processor's folder or repository; empty where there is none."""
    from transformers.utils import cached_file

    with explained(f"the processor of {source.processor!r}"):
        path = cached_file(
            source.processor,
            name,
            revision=source.processor_revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return content


def _loaded(place: str, revision: str | None, class_name: str, **arguments: Any) -> nn.Module:
    import transformers

    # A codec is loaded whenever it is first needed: what the run draws must not depend on when.
    with explained(f"the codec of {place!r}"), _without_reports(), torch.random.fork_rng(devices=[]):
        codec, report = getattr(transformers, class_name).from_pretrained(
            place,
            revision=revision,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            **arguments,
        )
    check_report(f"the codec of {place}", {**report, "unexpected_keys": ()})
    return codec.requires_grad_(False).eval()  # type: ignore[no-any-return]


@contextmanager
def _without_reports() -> Iterator[None]:
    """Keep transformers from listing the weights of a model that a part of it has no use for."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
