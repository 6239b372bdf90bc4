"""What `predict` says of every row."""

import json
import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from modalign.core.batch import PreferenceBatch


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
        outputs: dict[str, Tensor],
        batch: PreferenceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        with self._path.open("a") as file:
            for row in range(len(batch)):
                if batch.weight[row] > 0:
                    file.write(json.dumps(_row(row, outputs, batch)) + "\n")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        print(f"predictions: {self._path}")


def _row(row: int, outputs: dict[str, Tensor], batch: PreferenceBatch) -> dict[str, Any]:
    cells = [(role, k) for k, role in enumerate(batch.roles) if batch.mask[row, k]]
    numbers = {name: values[row].item() for name, values in outputs.items() if name != "logps"}
    return {
        "index": int(batch.index[row]),
        "logps": [[role, outputs["logps"][row, k].item(), int(batch.sizes[row, k])] for role, k in cells],
        **{name: value for name, value in numbers.items() if not math.isnan(value)},
    }
