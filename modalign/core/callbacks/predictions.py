"""What `predict` says of every row."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.objectives.base import ObjectiveOutput


class PredictionWriter(Callback):
    """Writes each row's log-probabilities by role, and its metrics, to `predictions.jsonl`, a file a rank."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        suffix = f"-rank{trainer.global_rank}" if trainer.world_size > 1 else ""
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"predictions{suffix}.jsonl"
        self._path.write_text("")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: tuple[Likelihood, ObjectiveOutput],
        batch: PreferenceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        likelihood, output = outputs
        with self._path.open("a") as file:
            for row in range(len(batch)):
                if batch.weight[row] > 0:
                    file.write(json.dumps(_row(row, likelihood, output, batch)) + "\n")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        print(f"predictions: {self._path}")


def _row(row: int, likelihood: Likelihood, output: ObjectiveOutput, batch: PreferenceBatch) -> dict[str, Any]:
    cells = [(role, k) for k, role in enumerate(batch.roles) if batch.mask[row, k]]
    metrics = {
        name: metric.values[row].item()
        for name, metric in output.metrics.items()
        if metric.where is None or metric.where[row]
    }
    return {
        "index": int(batch.index[row]),
        "logps": [[role, likelihood.logps[row, k].item(), int(batch.sizes[row, k])] for role, k in cells],
        **metrics,
    }
