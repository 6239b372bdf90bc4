"""Metrics as lines of JSON, one file a run, whole across restarts."""

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class JsonlLogger(Logger):
    """Appends `{"step": ..., name: value, ...}` lines to a file.

    Args:
        folder: Where the file goes.
        file: Its name.
    """

    def __init__(self, folder: str, file: str = "metrics.jsonl") -> None:
        super().__init__()
        self.path = Path(folder) / file

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def version(self) -> int:
        return 0

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run's config stands beside the metrics as config.yaml."""

    @rank_zero_only
    def drop_after(self, step: int) -> None:
        """Take back what was logged after optimiser step `step`, which a resumed run logs again."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text().splitlines() if _step_of(line) <= step]
        beside = self.path.with_suffix(".tmp")
        beside.write_text("".join(f"{line}\n" for line in kept))
        os.replace(beside, self.path)


def _step_of(line: str) -> float:
    """The step a line was logged at; one torn by a kill, or of an interval cut short, counts as after everything."""
    try:
        row = json.loads(line)
        return float("inf") if "partial" in row else float(row["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
