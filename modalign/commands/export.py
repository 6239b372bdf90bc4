"""`modalign export`: a checkpoint becomes an ordinary model folder, as at the end of `fit`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import UserError
from modalign.plugins.command_parser import CommandParser

if TYPE_CHECKING:
    from torch import nn


def main(argv: list[str]) -> int:
    """Rebuild the model from the config in the checkpoint, put the weights in and write it."""
    parser = CommandParser("export", "Turn a checkpoint into a folder that transformers, diffusers or peft loads.")
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or the folder of a run for its newest one")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--adapter", action="store_true", help="write the adapter alone, not merged into the model")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")
    options = parser.parse_args(argv)
    path = _checkpoint_file(options.checkpoint)
    given = {"merge": False} if options.adapter else {}
    if options.overwrite:
        given["overwrite"] = True
    export(path, options.out, given)
    print(f"exported: {options.out}")
    return 0


def export(path: Path, folder: Path, options: Mapping[str, bool]) -> None:
    """Write the policy of a checkpoint.

    Args:
        path: The checkpoint.
        folder: Where to.
        options: For the modality's `export`.

    Raises:
        UserError: The checkpoint cannot be read, or its model cannot be built or written.
    """
    no_bars_off_terminal()
    from jsonargparse import ArgumentError

    from modalign.commands.resume import read_checkpoint
    from modalign.commands.sections import build_section
    from modalign.core.model_card import model_card

    quiet_lightning()
    checkpoint = read_checkpoint(path)
    config = checkpoint["modalign"]["config"]
    try:
        modality = build_section("model", config["model"]).modality
    except ArgumentError as error:
        raise UserError(
            f"the config in {path} cannot be built: {error}", "Install what it was trained with."
        ) from error
    policy = modality.load()
    _load_weights(policy, checkpoint["state_dict"], path)
    step = int(checkpoint["global_step"])
    metrics = last_metrics(path.parent.parent / "metrics.jsonl", step)
    card = model_card(config, metrics, step, library=modality.library(options))
    modality.export(policy, folder, card, **options)


def last_metrics(path: Path, step: int) -> dict[str, float]:
    """The metrics last logged at or before an optimiser step; empty where there is no log.

    Args:
        path: A run's `metrics.jsonl`.
        step: Of the checkpoint.
    """
    latest: dict[str, float] = {}
    if not path.is_file():
        return latest
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # a line that a kill has torn
            continue
        if row["step"] <= step:
            latest.update({name: value for name, value in row.items() if name not in ("step", "epoch", "partial")})
    return latest


def _checkpoint_file(given: Path) -> Path:
    from modalign.core.callbacks.checkpoint import newest_checkpoint

    if given.is_file():
        return given
    if not given.exists():
        raise UserError(f"there is no checkpoint {given}", "Give a .ckpt file, or the folder of a run.")
    newest = newest_checkpoint(given)
    if newest is None:
        raise UserError(f"{given} is a folder without a readable checkpoint", "Give a .ckpt file or a run's folder.")
    return newest


def _load_weights(policy: "nn.Module", state: Mapping[str, Any], path: Path) -> None:
    """Put the saved weights into the policy; frozen ones, which are not saved, stay as they were loaded.

    Raises:
        UserError: The checkpoint is of another model.
    """
    saved = {name.removeprefix("policy."): value for name, value in state.items() if name.startswith("policy.")}
    own = policy.state_dict()
    missing = [name for name, parameter in policy.named_parameters() if parameter.requires_grad and name not in saved]
    if missing or not saved.keys() <= own.keys():
        raise UserError(
            f"{path} does not fit the model that its own config describes: {len(missing)} trainable weights are "
            f"missing, {len(saved.keys() - own.keys())} are unknown",
            "The model's folder or library has changed since; restore it.",
        )
    try:
        policy.load_state_dict({**own, **saved})
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the model that its own config describes: {error}") from error
