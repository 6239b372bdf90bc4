"""Which checkpoint `--ckpt_path` means, and how its run was configured."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from modalign.commands.config_files import plain_key
from modalign.commands.console import warn
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.errors import UserError, did_you_mean


def resolve_checkpoint(given: str | None, root: Path, command: str) -> str | None:
    """The file that `--ckpt_path` means.

    Args:
        given: A file, or `last` for the newest readable checkpoint of the run folder.
        root: The run folder.
        command: `fit` starts afresh where `last` finds nothing; the others need one.

    Raises:
        UserError: There is no such checkpoint.
    """
    if given is None:
        return None
    if given == "last":
        newest = newest_checkpoint(root)
        if newest is None and command != "fit":
            raise UserError(f"--ckpt_path last: there is no checkpoint in {root}", "Set --trainer.default_root_dir.")
        warn(f"continuing from {newest}" if newest else f"no checkpoint in {root} yet: starting from the beginning")
        return str(newest) if newest else None
    path = Path(given)
    if not path.is_file():
        others = [other.name for other in path.parent.glob("*.ckpt")]
        raise UserError(
            f"--ckpt_path: there is no file {given}", f"In {path.parent}: {did_you_mean(path.name, others)}"
        )
    return given


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, its tensors left on the disk until they are used.

    Raises:
        UserError: It cannot be read, or is none of this program's.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch.load raises many types for files that are torn or not its own
        raise UserError(f"{path} cannot be read as a checkpoint: {_first_line(error)}") from error
    if not isinstance(checkpoint, dict) or "config" not in checkpoint.get("modalign", {}):
        raise UserError(f"{path} holds no config of modalign", "Give a checkpoint that `modalign fit` wrote.")
    return checkpoint


def tell_differences(path: Path, config: Mapping[str, Any]) -> None:
    """Say where the options of a continued run are not those the checkpoint was written with; the new ones hold."""
    before = read_checkpoint(path)["modalign"]["config"]
    for section in ("model", "data"):
        for key, old, new in differences(before.get(section), config.get(section), section):
            warn(f"{plain_key(key)} is {new!r}; the checkpoint was written with {old!r}")


def differences(old: Any, new: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Key, old and new value of every leaf in which two nested configs differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from differences(old.get(name), new.get(name), f"{key}.{name}")
    elif old != new:
        yield key, old, new


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
