"""What frozen encoders are, by content: cheap to know again, and never stale."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from modalign.core.content import content_hash


def remembered_identity(
    memory: Path, files: Sequence[Path], settings: Mapping[str, Any], compute: Callable[[], str]
) -> str:
    """A hash that costs a look at its files' sizes and times where these are as they were when it was computed.

    Args:
        memory: A folder that keeps one small file a hash. Where it cannot be written, the hash is computed each time.
        files: What the encoders are loaded from.
        settings: How they are loaded.
        compute: Loads the encoders and hashes them.
    """
    if not files:  # not downloaded yet
        return compute()
    note = memory / content_hash([file_stamps(files), dict(settings)])
    if note.is_file():
        return note.read_text(encoding="utf-8")
    identity = compute()
    with suppress(OSError):
        memory.mkdir(parents=True, exist_ok=True)
        partial = memory / f"{uuid4().hex}.partial"
        partial.write_text(identity, encoding="utf-8")
        partial.rename(note)
    return identity


def file_stamps(files: Sequence[Path]) -> list[list[Any]]:
    stamps = []
    for path in sorted(files):
        state = path.stat()
        stamps.append([str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
    return stamps
