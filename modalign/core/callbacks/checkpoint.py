"""Checkpoints to resume from: every N optimiser steps and at the end, the newest few kept."""

import re
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from modalign.core.errors import ConfigError

_NAME = re.compile(r"step-(\d+)\.ckpt")


class ResumeCheckpoint(Checkpoint):
    """Saves `checkpoints/step-N.ckpt` under the trainer's root folder.

    Lightning's ModelCheckpoint keeps the best by a metric and may stand beside this one.

    Args:
        every_n_steps: Optimiser steps between two checkpoints.
        keep: How many of the newest to keep.
    """

    def __init__(self, every_n_steps: int = 500, keep: int = 2) -> None:
        if every_n_steps < 1 or keep < 1:
            raise ConfigError(f"ResumeCheckpoint: every_n_steps {every_n_steps}, keep {keep}.", "Give at least 1 each.")
        self.every_n_steps = every_n_steps
        self.keep = keep
        self._saved = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take away checkpoints of later steps: a run continued from an earlier one makes its own."""
        self._saved = trainer.global_step if trainer.ckpt_path else -1
        if trainer.is_global_zero:
            for step, path in _by_step(checkpoint_folder(trainer.default_root_dir)):
                if step > trainer.global_step:
                    path.unlink()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The last one is saved here and not in on_train_end, where Lightning has begun to count the next epoch.
        if trainer.global_step % self.every_n_steps == 0 or _is_last(trainer):
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.should_stop and trainer.state.fn == TrainerFn.FITTING:
            self._save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Where an epoch of unknown length is over, have Lightning count the next one's batches from 0 again."""
        if trainer.is_last_batch and trainer.num_training_batches == float("inf"):
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            # On loading, it completes the batch that was under way, and puts the other counts where that one stands.
            under_way = progress["total"]["completed"] < progress["total"]["processed"]
            progress["current"] = {"ready": 0, "started": 0, "processed": 0, "completed": -1 if under_way else 0}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            newest = newest_checkpoint(trainer.default_root_dir)
            cure = f"--ckpt_path last continues from {newest.name}" if newest else "no checkpoint was written yet"
            print(f"interrupted at step {trainer.global_step}: {cure}")

    def _save(self, trainer: Trainer) -> None:
        """Save, unless this step was saved or gradients are accumulated, which would not be in the checkpoint."""
        if trainer.global_step == self._saved or trainer.global_step == 0 or trainer.fit_loop._should_accumulate():
            return
        self._saved = trainer.global_step
        folder = checkpoint_folder(trainer.default_root_dir)
        trainer.save_checkpoint(folder / f"step-{trainer.global_step:07d}.ckpt")
        if trainer.is_global_zero:
            for _, old in _by_step(folder)[: -self.keep]:
                old.unlink()
            for torn in folder.glob(".step-*.tmp"):
                torn.unlink()


def checkpoint_folder(root: str | Path) -> Path:
    """Where a run keeps its checkpoints."""
    return Path(root) / "checkpoints"


def newest_checkpoint(root: str | Path) -> Path | None:
    """The newest checkpoint of a run that can be read, None where there is none."""
    return next((path for _, path in reversed(_by_step(checkpoint_folder(root))) if _readable(path)), None)


def _is_last(trainer: Trainer) -> bool:
    """Whether this batch is known to be the run's last."""
    ends = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    return trainer.should_stop or trainer.global_step == trainer.max_steps or (ends and trainer.is_last_batch)


def _by_step(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(match[1]), path) for path in folder.glob("*.ckpt") if (match := _NAME.fullmatch(path.name)))


def _readable(path: Path) -> bool:
    try:
        torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, ValueError):
        return False
    return True
