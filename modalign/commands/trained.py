"""The model in a checkpoint: built from the config inside, with the weights that were trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modalign.commands.resume import read_checkpoint
from modalign.commands.sections import build_section
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.callbacks.ema import average_in
from modalign.core.errors import UserError
from modalign.core.modality import Modality

if TYPE_CHECKING:
    from torch import Tensor, nn

AVERAGE, RAW = "average", "raw"
WEIGHTS = (AVERAGE, RAW)
"""Which weights of a checkpoint: the average that an `Ema` kept, or those at its last step."""


@dataclass(frozen=True)
class Trained:
    """A checkpoint, its tensors still on the disk.

    Attributes:
        path: Of the checkpoint.
        config: The run's options.
        step: Optimiser steps so far.
        modality: As the config describes it; its `load` gives the policy before training.
        weights: The trained weights by name; the frozen ones are not in a checkpoint.
        averaged: Whether the weights are an average.
    """

    path: Path
    config: Mapping[str, Any]
    step: int
    modality: Modality
    weights: Mapping[str, "Tensor"]
    averaged: bool

    def put_into(self, policy: "nn.Module") -> None:
        """Put the trained weights into a policy that `modality.load` gave; frozen ones stay as they were loaded.

        Raises:
            UserError: The checkpoint is of another model.
        """
        own = policy.state_dict()
        trained = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
        missing = [name for name in trained if name not in self.weights]
        if missing or not self.weights.keys() <= own.keys():
            raise UserError(
                f"{self.path} does not fit the model that its own config describes: {len(missing)} trainable weights "
                f"are missing, {len(self.weights.keys() - own.keys())} are unknown",
                "The model's folder or library has changed since; restore it.",
            )
        try:
            policy.load_state_dict({**own, **self.weights})
        except RuntimeError as error:
            raise UserError(f"{self.path} does not fit the model that its own config describes: {error}") from error


def read_trained(given: Path, weights: str | None = None) -> Trained:
    """Read a checkpoint and build the modality its config describes.

    Args:
        given: A checkpoint, or the folder of a run for its newest one.
        weights: `average` or `raw`; None for the average where there is one.

    Raises:
        UserError: There is no checkpoint, it cannot be read or built, or it has no average.
    """
    from jsonargparse import ArgumentError

    path = checkpoint_file(given)
    checkpoint = read_checkpoint(path)
    average = average_in(checkpoint)
    if weights == AVERAGE and average is None:
        raise UserError(
            f"{path} holds no average of the weights", "Train with the callback Ema, or leave the option out."
        )
    config = checkpoint["modalign"]["config"]
    try:
        modality = build_section("model", config["model"]).modality
    except ArgumentError as error:
        raise UserError(
            f"the config in {path} cannot be built: {error}", "Install what it was trained with."
        ) from error
    saved = {
        name.removeprefix("policy."): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("policy.")
    }
    averaged = average is not None and weights != RAW
    if average is not None and averaged:
        saved |= average
    return Trained(path, config, int(checkpoint["global_step"]), modality, saved, averaged)


def checkpoint_file(given: Path) -> Path:
    """A checkpoint as it is, or the newest one of a run's folder.

    Raises:
        UserError: There is none.
    """
    if given.is_file():
        return given
    if not given.exists():
        raise UserError(f"there is no checkpoint {given}", "Give a .ckpt file, or the folder of a run.")
    newest = newest_checkpoint(given)
    if newest is None:
        raise UserError(f"{given} is a folder without a readable checkpoint", "Give a .ckpt file or a run's folder.")
    return newest
