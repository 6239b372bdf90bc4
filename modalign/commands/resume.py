"""Which checkpoint `--ckpt_path` means, and how its run was configured."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from modalign.commands.config_files import plain_key
from modalign.commands.console import warn
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.errors import ConfigError, UserError, did_you_mean


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


_OF_THE_MODEL = {"model.modality.class_path", "model.modality.init_args.lora"}
"""What a checkpoint's weights are of; no command can read them into anything else."""

_OF_THE_RUN = {
    "model.objective.class_path",
    "model.reference.class_path",
    "model.optimizer.class_path",
    "data.batch_size",
    "data.shuffle",
    "data.train",
    "data.validation_rows",
    "trainer.accumulate_grad_batches",
    "trainer.devices",
    "trainer.num_nodes",
    "seed_everything",
}
"""What a training run's state and its position in the data are of."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, its tensors left on the disk until they are used.

    Raises:
        UserError: It cannot be read, or is none of this program's.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch.load raises many types for files that are torn or not its own
        raise UserError(
            f"{path} cannot be read as a checkpoint: it is torn, or something else ({type(error).__name__})",
            "Give a .ckpt file that `modalign fit` wrote, or --ckpt_path last for the newest that can be read.",
        ) from error
    if not isinstance(checkpoint, dict) or "config" not in checkpoint.get("modalign", {}):
        raise UserError(f"{path} holds no config of modalign", "Give a checkpoint that `modalign fit` wrote.")
    return checkpoint


def tell_differences(path: Path, config: Mapping[str, Any], command: str) -> None:
    """Say where a run's options are not those its checkpoint was written with; the new ones hold.

    Args:
        path: The checkpoint.
        config: The options, as plain values.
        command: `fit` continues the run; its siblings only read the model.

    Raises:
        ConfigError: Listing changes that cannot take effect.
    """
    before = read_checkpoint(path)["modalign"]["config"]
    fixed = _OF_THE_MODEL | (_OF_THE_RUN if command == "fit" else set())
    refused = []
    for key, old, new in _changes(before, config):
        # The first covers what is within an option; the second, a whole object given where there was none.
        if any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in fixed):
            refused.append(f"{plain_key(key)} is {new!r}, and the checkpoint was written with {old!r}")
        elif key.split(".")[0] in ("model", "data"):
            warn(f"{plain_key(key)} is {new!r}; the checkpoint was written with {old!r}")
    if refused:
        raise ConfigError(
            f"{path} cannot go on with these changes:\n  " + "\n  ".join(refused),
            "Put the old values back, or start a new run in another --trainer.default_root_dir.",
        )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The options that differ; a file alone and a list of one file are the same."""
    for section in ("model", "data", "trainer", "seed_everything"):
        for key, old, new in differences(before.get(section), now.get(section), section):
            if key != "data.train" or _listed(old) != _listed(new):
                yield key, old, new


def _listed(paths: Any) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths or [])


def differences(old: Any, new: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Key, old and new value of every leaf in which two nested configs differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from differences(old.get(name), new.get(name), f"{key}.{name}")
    elif old != new:
        yield key, old, new
