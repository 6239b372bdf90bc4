"""Likelihood displacement: how far log-probabilities have moved since step 0."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, PreferenceBatch
from modalign.core.callbacks.meter import Meter
from modalign.core.callbacks.metrics import latest_metrics
from modalign.core.displacement import Displacement, displacement_warning
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Metric

ROLES = (CHOSEN, REJECTED)


class DriftLog(Callback):
    """Measures the same rows before the first step and at every validation.

    A margin can grow while the chosen response itself becomes less likely (arXiv 2410.08847); the implicit accuracy
    does not show it. Logs `drift/chosen` and `drift/rejected` (mean change of the log-probability) and
    `drift/chosen_fell` (share of rows whose chosen response lost). Where the modality says how large a fall is
    tolerated, prints once what `displacement_warning` makes of the changes.

    Args:
        batches: How many validation batches are measured (training batches where there are none).

    Attributes:
        warnings: What was printed.
    """

    def __init__(self, batches: int = 8) -> None:
        if batches < 1:
            raise ConfigError(f"DriftLog: batches is {batches}.", "Give at least 1.")
        self.batches = batches
        self._start: dict[str, dict[str, float]] = {}
        self._logged_at = -1
        self.warnings: list[str] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(getattr(trainer, "datamodule", None), "probe_batches"):
            raise ConfigError("DriftLog reads its rows from a PreferenceDataModule.", "Pass one to the trainer.")
        if stage == "fit":
            trainer.datamodule.ask_probe(self.batches)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._start:
            self._start = _over_ranks(
                {
                    key: row
                    for batch, logps, keys in self._measure(trainer, pl_module)
                    for key, row in zip(keys, _rows(batch, logps), strict=True)
                }
            )

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
        meter, pairs = Meter(), Meter()
        for batch, logps, keys in self._measure(trainer, pl_module):
            meter.add(self._changes(batch, logps, keys), batch.weight)
            if CHOSEN in batch.roles and REJECTED in batch.roles:
                pairs.add(self._displacements(batch, logps, keys), batch.weight)
        means = meter.means()
        for logger in trainer.loggers:
            logger.log_metrics(means, step=trainer.global_step)
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in means.items()})
        self._warn(pl_module, pairs.means(), latest_metrics(trainer).get("rewards/accuracies", 0.0))

    def _warn(self, pl_module: LightningModule, means: dict[str, float], logged_accuracy: float) -> None:
        tolerated = pl_module.modality.tolerated_fall
        starts = [means.get(f"start {role}", 0.0) for role in ROLES]
        if tolerated is None or self.warnings or min(starts) <= 0:
            return
        found = Displacement(
            max(means["accuracy"], logged_accuracy),
            *(means[f"rise {role}"] / start for role, start in zip(ROLES, starts, strict=True)),
            *(means[f"rose {role}"] for role in ROLES),
        )
        warning = displacement_warning(found, tolerated, pl_module.objective)
        if warning is not None:
            self.warnings.append(warning)
            rank_zero_only(print)(warning)

    @torch.no_grad()
    def _measure(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> Iterator[tuple[PreferenceBatch, Tensor, list[str]]]:
        """The probe's batches, their log-probabilities now, and a key for each row."""
        training = pl_module.policy.training
        pl_module.policy.eval()
        seen = 0
        for batch in trainer.datamodule.probe_batches(self.batches):
            there = batch.to(pl_module.device)
            with trainer.precision_plugin.forward_context():
                likelihood = pl_module.modality.likelihood(pl_module.policy, there, pl_module.objective.needs)
            yield there, likelihood.logps, [f"{trainer.global_rank}:{seen + row}" for row in range(len(batch))]
            seen += len(batch)
        pl_module.policy.train(training)

    def _changes(self, batch: PreferenceBatch, logps: Tensor, keys: list[str]) -> dict[str, Metric]:
        metrics = {}
        for role in (role for role in ROLES if role in batch.roles):
            column = batch.column(role)
            change = logps[:, column] - self._before(role, logps, keys)
            known = batch.mask[:, column] & ~change.isnan()
            metrics[f"drift/{role}"] = Metric(change, known)
            if role == CHOSEN:
                metrics["drift/chosen_fell"] = Metric((change < 0).float(), known)
        return metrics

    def _displacements(self, batch: PreferenceBatch, logps: Tensor, keys: list[str]) -> dict[str, Metric]:
        """What `Displacement` is made of; errors are minus log-probabilities."""
        starts = {role: -self._before(role, logps, keys) for role in ROLES}
        rises = {role: -logps[:, batch.column(role)] - start for role, start in starts.items()}
        both = batch.mask[:, [batch.column(role) for role in ROLES]].all(1)
        known = both & ~(rises[CHOSEN] + rises[REJECTED]).isnan()
        metrics = {"accuracy": Metric((rises[CHOSEN] < rises[REJECTED]).float(), known)}
        for role in ROLES:
            metrics[f"start {role}"] = Metric(starts[role], known)
            metrics[f"rise {role}"] = Metric(rises[role], known)
            metrics[f"rose {role}"] = Metric((rises[role] > 0).float(), known)
        return metrics

    def _before(self, role: str, logps: Tensor, keys: list[str]) -> Tensor:
        """`(B,)`: a role's log-probabilities at the start; NaN where there was none."""
        return torch.tensor([self._start.get(key, {}).get(role, math.nan) for key in keys], device=logps.device)


def _rows(batch: PreferenceBatch, logps: Tensor) -> list[dict[str, float]]:
    roles = [(role, batch.column(role)) for role in ROLES if role in batch.roles]
    return [
        {role: logps[row, column].item() for role, column in roles if batch.mask[row, column]}
        for row in range(len(batch))
    ]


def _over_ranks(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Every rank's rows on every rank, so that a checkpoint holds them all."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    gathered: list[dict[str, dict[str, float]]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, rows)
    return {key: row for of_rank in gathered for key, row in of_rank.items()}
