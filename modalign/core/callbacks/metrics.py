"""Metrics of training and evaluation: exact weighted means, logged with one reduction."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from modalign.core.batch import PreferenceBatch
from modalign.core.callbacks.meter import Meter
from modalign.core.callbacks.throughput import Throughput
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.base import Metric, ObjectiveOutput


class MetricsLog(Callback):
    """Logs the objective's metrics, the loss, lengths, the share of truncated rows, gradient norm, learning rate and
    throughput.

    Training metrics are means over the `trainer.log_every_n_steps` optimiser steps before; validation and test metrics
    are means over all rows, under `val/` and `test/`.

    Attributes:
        latest: The training metrics last logged and their step, for a progress bar.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self._meter = Meter()
        self._evaluation = Meter()
        self._throughput = Throughput()
        self._units, self._has_lengths = "", True
        self._coefficients: list[float] = []
        self._stepped = 0
        self._learning_rate = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._units = pl_module.modality.units
        self._has_lengths = pl_module.modality.has_lengths

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stepped = trainer.global_step
        self._throughput.resume()
        for logger in trainer.loggers:
            if isinstance(logger, JsonlLogger):
                logger.drop_after(trainer.global_step)
            if trainer.global_step == 0 and (counts := _data_counts(trainer)):
                logger.log_metrics(counts, step=0)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])
        self._meter.add_sum("grad_norm", norm, torch.ones_like(norm))
        self._learning_rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PreferenceBatch, batch_idx: int
    ) -> None:
        self._count(self._meter, outputs["output"], batch)
        self._throughput.count(int((batch.weight > 0).sum()), float(batch.sizes.sum()))
        step = trainer.global_step
        every = trainer.log_every_n_steps
        if step != self._stepped and every and step % every == 0:
            self._log_training(trainer, step)
        self._stepped = step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the steps since the last log; a run continued from here takes this row back."""
        if trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps:
            self._log_training(trainer, trainer.global_step, partial=1)

    def _log_training(self, trainer: Trainer, step: int, **marks: int) -> None:
        means = {**self._means(self._meter), "learning_rate": self._learning_rate, "epoch": trainer.current_epoch}
        self.latest = {**means, "step": step}
        for logger in trainer.loggers:
            logger.log_metrics({**means, **self._throughput.rates(trainer.world_size, self._units), **marks}, step=step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._throughput.resume()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PreferenceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._count(self._evaluation, outputs, batch)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_evaluation(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_evaluation(trainer, pl_module, "test")

    def state_dict(self) -> dict[str, Any]:
        # What was counted since the last log, so that a resumed run logs the same means.
        return {"meter": self._meter.state_dict(), "coefficients": self._coefficients}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._meter.load_state_dict(state_dict["meter"])
        self._coefficients = state_dict["coefficients"]

    def _log_evaluation(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        means = {f"{stage}/{name}": value for name, value in self._means(self._evaluation).items()}
        if trainer.sanity_checking:
            return
        # For callbacks that monitor a metric, and Lightning's own table.
        pl_module.log_dict(means, batch_size=1, logger=False, sync_dist=trainer.world_size > 1)
        for logger in trainer.loggers:
            logger.log_metrics(means, step=trainer.global_step)

    def _count(self, meter: Meter, output: ObjectiveOutput, batch: PreferenceBatch) -> None:
        metrics = {**output.metrics}
        if self._has_lengths:
            for column, role in enumerate(batch.roles):
                metrics[f"lengths/{role}"] = Metric(batch.sizes[:, column], batch.mask[:, column])
            metrics["truncated"] = Metric(batch.truncated.float())
        meter.add(metrics, batch.weight)
        for number, term in enumerate(output.terms):
            meter.add_sum(f"term/{number}", *term.totals(batch))
        self._coefficients = [term.coefficient for term in output.terms]

    def _means(self, meter: Meter) -> dict[str, float]:
        means = meter.means()
        if not means:
            return {}
        parts = [means.pop(f"term/{number}") for number in range(len(self._coefficients))]
        return {"loss": sum(c * part for c, part in zip(self._coefficients, parts, strict=True)), **means}


def _data_counts(trainer: Trainer) -> dict[str, float]:
    """How many rows were read, kept, skipped and truncated, as `data/train/kept` and so on."""
    reports = getattr(getattr(trainer, "datamodule", None), "reports", {})
    names = ("read", "kept", "skipped", "comparisons", "truncated")
    return {f"data/{which}/{name}": report.as_dict()[name] for which, report in reports.items() for name in names}


def latest_metrics(trainer: Trainer) -> dict[str, float]:
    """The training metrics last logged and their step; empty where there are none."""
    return next((callback.latest for callback in trainer.callbacks if isinstance(callback, MetricsLog)), {})
