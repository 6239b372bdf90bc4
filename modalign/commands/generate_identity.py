"""By what `modalign generate` knows whether a folder was begun with the same models and rewards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from modalign.core.content import content_hash


def modality_identity(described: Any) -> dict[str, Any]:
    """A modality's class, every option of it under a name of its own, and its model's files.

    Args:
        described: `class_path` and `init_args`, as parsed or as a checkpoint keeps them.
    """
    values = plain(described)
    options = values.get("init_args", {})
    named = {f"modality.{name}": value for name, value in options.items()}
    return {"modality": values["class_path"], **named, "modality.model's files": files_identity(options.get("model"))}


def rewards_identity(described: Any) -> dict[str, Any]:
    """Each reward's class and options.

    Args:
        described: For each name, `class_path` and `init_args`.
    """
    return {f"reward {name}": values for name, values in plain(described).items()}


def files_identity(model: Any) -> str | None:
    """A hash of the names, sizes and times of a folder's files, or of a file's.

    None for a hub id, whose files do not change, and for whatever is no path.
    """
    if not isinstance(model, str | Path) or not model or not Path(model).exists():
        return None
    root = Path(model)
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    states = [(path.relative_to(root).as_posix(), path.stat()) for path in files]
    return content_hash([[name, state.st_size, state.st_mtime_ns] for name, state in states])


def plain(value: Any) -> Any:
    """Parsed options as plain mappings."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    return {name: plain(inner) for name, inner in value.items()} if isinstance(value, Mapping) else value
