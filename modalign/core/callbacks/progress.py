"""Progress that shows loss, accuracy and margin: a bar on a terminal, lines elsewhere."""

import sys
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from modalign.core.callbacks.metrics import latest_metrics

SHOWN = {"loss": "loss", "rewards/accuracies": "accuracy", "rewards/margins": "margin"}


class Progress(TQDMProgressBar):
    """Lightning's bar with the metrics last logged; off a terminal it prints a line each time metrics are logged."""

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate=refresh_rate if sys.stdout.isatty() else 0)
        self._printed: float = -1

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        latest = latest_metrics(trainer)
        return {shown: f"{latest[name]:.4g}" for name, shown in SHOWN.items() if name in latest}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        # Metrics are logged at the end of a batch, by a callback that runs after this one.
        self._print_line(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._print_line(trainer, pl_module)

    def _print_line(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = latest_metrics(trainer)
        step = metrics.get("step", -1)
        if not self.is_enabled and trainer.is_global_zero and step > self._printed:
            self._printed = step
            shown = ", ".join(f"{name} {value}" for name, value in self.get_metrics(trainer, pl_module).items())
            print(f"epoch {metrics['epoch']}, step {step}: {shown}", flush=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        found = trainer.callback_metrics
        if trainer.state.fn == TrainerFn.VALIDATING:
            _print_all(found, "val/")
        else:
            shown = ", ".join(f"{n} {found[f'val/{key}']:.4g}" for key, n in SHOWN.items() if f"val/{key}" in found)
            print(f"validation at step {trainer.global_step}: {shown}", flush=True)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_end(trainer, pl_module)
        if trainer.is_global_zero:
            _print_all(trainer.callback_metrics, "test/")


def _print_all(metrics: Mapping[str, Any], prefix: str) -> None:
    for name, value in sorted(metrics.items()):
        if name.startswith(prefix):
            print(f"{name:<32} {float(value):.6g}")
