"""Values that a parser accepts by their type and a run cannot use: told before anything is built."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning.pytorch.cli import OptimizerCallable

LARGEST_SEED = 2**32 - 1

_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "gradient_clip_val": 0,
    "num_nodes": 1,
}
"""The smallest usable value of options of the trainer, where Lightning itself does not check it."""


@dataclass(frozen=True)
class BadValue:
    """A value that cannot be used.

    Attributes:
        key: Whose, with dots.
        text: What is wrong with it.
        cure: What to do.
    """

    key: str
    text: str
    cure: str


def bad_values(config: Namespace) -> Iterator[BadValue]:
    """What is out of range in the parsed options of `fit` or one of its siblings."""
    yield from _seed(config.get("seed_everything"))
    yield from _trainer(config.trainer)
    yield from _root(Path(config.trainer.default_root_dir))
    yield from _optimizer(config.model.get("optimizer"))


def _seed(seed: Any) -> Iterator[BadValue]:
    if not isinstance(seed, bool) and seed is not None and not 0 <= seed <= LARGEST_SEED:
        yield BadValue("seed_everything", f"the seed is {seed}", f"Give a number from 0 to {LARGEST_SEED}.")


def _trainer(trainer: Namespace) -> Iterator[BadValue]:
    for name, least in _LEAST.items():
        value = trainer.get(name)
        if value is not None and not value >= least:
            yield BadValue(f"trainer.{name}", f"the value is {value}", f"Give at least {least}.")
    interval = trainer.get("val_check_interval")
    if isinstance(interval, int | float) and not interval > 0:
        cure = "Give a number of batches, or a share of an epoch above 0; limit_val_batches: 0 switches validation off."
        yield BadValue("trainer.val_check_interval", f"the value is {interval}", cure)


def _root(root: Path) -> Iterator[BadValue]:
    """Whether the run's folder can be made: the nearest folder above it that exists decides."""
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    if not there.is_dir():
        problem = f"{root} cannot be a folder: {there} is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        problem = f"{root} cannot be written: {there} allows it not"
    else:
        return
    yield BadValue("trainer.default_root_dir", problem, "Choose another folder for the run.")


def _optimizer(given: Any) -> Iterator[BadValue]:
    """Try the optimiser on a weight of its own: its constructor knows the ranges of its options."""
    if not isinstance(given, Namespace):
        return
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--optimizer", type=OptimizerCallable)
    try:
        build = parser.instantiate(parser.parse_object({"optimizer": given})).optimizer
        build([torch.nn.Parameter(torch.zeros(1, 1))])
    except (ValueError, TypeError, ArgumentError) as error:
        yield BadValue("model.optimizer", f"{_leaf(given)}: {error}", "Give it a value within its range.")


def _leaf(given: Namespace) -> str:
    return str(given.class_path).rpartition(".")[2]
