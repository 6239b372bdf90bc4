"""Likelihood displacement: how far log-probabilities have moved since step 0."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, PreferenceBatch
from modalign.core.callbacks.meter import Meter
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Metric

ROLES = (CHOSEN, REJECTED)


class DriftLog(Callback):
    """Measures the same rows before the first step and at every validation.

    A margin can grow while the chosen response itself becomes less likely (arXiv 2410.08847); the implicit accuracy
    does not show it. Logs `drift/chosen` and `drift/rejected` (mean change of the log-probability) and
    `drift/chosen_fell` (share of rows whose chosen response lost).

    Args:
        batches: How many validation batches are measured (training batches where there are none).
    """

    def __init__(self, batches: int = 8) -> None:
        if batches < 1:
            raise ConfigError(f"DriftLog: batches is {batches}.", "Give at least 1.")
        self.batches = batches
        self._start: list[Tensor] = []
        self._logged_at = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(getattr(trainer, "datamodule", None), "probe_batches"):
            raise ConfigError("DriftLog reads its rows from a PreferenceDataModule.", "Pass one to the trainer.")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._start:
            self._start = [logps.cpu() for _, logps in self._measure(trainer, pl_module)]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._start and not trainer.sanity_checking:
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._logged_at != trainer.global_step:
            self._log(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._start = state_dict["start"]

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._logged_at = trainer.global_step
        meter = Meter()
        for (batch, logps), before in zip(self._measure(trainer, pl_module), self._start, strict=True):
            meter.add(_changes(batch, logps - before.to(logps.device)), batch.weight)
        means = meter.means()
        for logger in trainer.loggers:
            logger.log_metrics(means, step=trainer.global_step)
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in means.items()})

    @torch.no_grad()
    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> list[tuple[PreferenceBatch, Tensor]]:
        measured = []
        training = pl_module.policy.training
        pl_module.policy.eval()
        for batch in trainer.datamodule.probe_batches(self.batches):
            there = batch.to(pl_module.device)
            with trainer.precision_plugin.forward_context():
                likelihood = pl_module.modality.likelihood(pl_module.policy, there, pl_module.objective.needs)
            measured.append((there, likelihood.logps))
        pl_module.policy.train(training)
        return measured


def _changes(batch: PreferenceBatch, change: Tensor) -> dict[str, Metric]:
    metrics = {}
    for role in ROLES:
        if role in batch.roles:
            column = batch.column(role)
            metrics[f"drift/{role}"] = Metric(change[:, column], batch.mask[:, column])
            if role == CHOSEN:
                metrics["drift/chosen_fell"] = Metric((change[:, column] < 0).float(), batch.mask[:, column])
    return metrics
