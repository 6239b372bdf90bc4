"""From what a user calls a model to something `from_pretrained` can open, with an error that says what was wrong.

The libraries answer a missing folder with "Repo id must be in the form ...", and a machine without a network with half
a minute of retries; this module answers both at once.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from modalign.core.errors import UserError


def resolve_model(
    name: str, files: Sequence[str] = ("config.json", "adapter_config.json"), revision: str | None = None
) -> str:
    """The absolute path of a local folder, or the hub id as it is.

    Args:
        name: A folder or a hub id, as the user wrote it.
        files: A folder must hold one of these; a hub id is known offline where one of these is in the cache.
        revision: Of a hub id.

    Raises:
        UserError: The folder does not exist or holds none of `files`; or the hub cannot be asked and has not been.
    """
    path = Path(name).expanduser()
    if not name.strip():
        raise UserError("The name of the model is empty.", "Give a folder or a hub id.")
    if path.exists():
        return _checked_folder(path, files)
    if _looks_like_path(name):
        raise UserError(f"There is no folder {name!r}{_relative_to(path)}.{_nearest(path)}", "Correct the path.")
    return _checked_hub_id(name, files, revision)


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or name.endswith("/")


def _relative_to(path: Path) -> str:
    return "" if path.is_absolute() else f" (relative to {Path.cwd()})"


def _nearest(path: Path) -> str:
    """Folders beside the missing one with a similar name, as a sentence."""
    if not path.parent.is_dir():
        return f" Its parent {str(path.parent)!r} does not exist either."
    near = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir() if entry.is_dir()], n=3)
    return f" Beside it: {', '.join(repr(str(path.parent / name)) for name in near)}." if near else ""


def _checked_folder(path: Path, files: Sequence[str]) -> str:
    if not path.is_dir():
        raise UserError(f"{str(path)!r} is a file, not the folder of a model.", "Name the folder that holds it.")
    if not any((path / file).is_file() for file in files):
        raise UserError(
            f"The folder {str(path)!r} holds none of the expected files: {', '.join(files)}.",
            "Name a folder written by save_pretrained, or by `modalign export`.",
        )
    return str(path.resolve())


def _checked_hub_id(name: str, files: Sequence[str], revision: str | None) -> str:
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(
            f"{name!r} is neither an existing folder{_relative_to(Path(name))} nor a valid hub id: {error}",
            "Give a folder, or a hub id such as 'organisation/model'.",
        ) from error
    if not constants.HF_HUB_OFFLINE:
        return name
    if not any(isinstance(try_to_load_from_cache(name, file, revision=revision), str) for file in files):
        raise UserError(
            f"{name!r} is not a folder{_relative_to(Path(name))}, and as a hub id it is not in the local cache "
            f"({constants.HF_HUB_CACHE}), while HF_HUB_OFFLINE=1 forbids asking the hub.",
            "Unset HF_HUB_OFFLINE to download it, or give a local folder.",
        )
    return name
