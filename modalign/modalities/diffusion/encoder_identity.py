"""What frozen encoders are, by content: cheap to know again, and never stale."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modalign.core.content import content_hash
from modalign.core.errors import UserError


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


def _stamps(files: Sequence[Path]) -> list[list[Any]]:
    stamps = []
    for path in sorted(files):
        state = path.stat()
        stamps.append([str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
    return stamps
