"""What frozen encoders are, by content: cheap to know again, and never stale."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from modalign.core.content import content_hash, weights_hash
from modalign.core.errors import UserError

_NOT_CONTENT = ("transformers_version",)


def remembered_identity(
    memory: Path, files: Sequence[Path], settings: Mapping[str, Any], compute: Callable[[], str]
) -> str:
    """A hash that costs a look at its files' sizes and times where these are as they were when it was computed.

    Args:
        memory: A folder that keeps one small file a hash.
        files: What the encoders are loaded from.
        settings: How they are loaded.
        compute: Loads the encoders and hashes them.

    Raises:
        UserError: The folder cannot be written.
    """
    if not files:  # not downloaded yet
        return compute()
    note = memory / content_hash([_stamps(files), dict(settings)])
    try:
        return note.read_text(encoding="utf-8")
    except FileNotFoundError:
        identity = compute()
    try:
        memory.mkdir(parents=True, exist_ok=True)
        partial = note.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(identity, encoding="utf-8")
        partial.rename(note)
    except OSError as error:
        raise UserError(
            f"The cache folder {memory} cannot be written: {error.strerror or error}.", "Give another one."
        ) from error
    return identity


def parts_identity(parts: Mapping[str, Any]) -> str:
    """A hash of loaded models and tokenizers: weights, configurations, vocabularies.

    Args:
        parts: By name; None where a pipeline has no such part.
    """
    return content_hash({name: _part(part) for name, part in parts.items() if part is not None})


def _part(part: Any) -> Any:
    if isinstance(part, nn.Module):
        return [type(part).__name__, _configuration(getattr(part, "config", {})), weights_hash(part)]
    backend = getattr(part, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else sorted(part.get_vocab().items())
    return [type(part).__name__, rules, part.model_max_length]


def _configuration(config: Any) -> dict[str, str]:
    """What of a configuration changes what a model computes."""
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {k: repr(v) for k, v in values.items() if not k.startswith("_") and k not in _NOT_CONTENT}


def _stamps(files: Sequence[Path]) -> list[list[Any]]:
    stamps = []
    for path in sorted(files):
        state = path.stat()
        stamps.append([str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
    return stamps
