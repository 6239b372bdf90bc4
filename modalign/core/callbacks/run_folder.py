"""The run's folder: its config beside its metrics and checkpoints, and no second run on top of a first."""

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.errors import ConfigError


class RunFolder(Callback):
    """Writes `config.yaml` (`config-resumed-N.yaml` after a restart) and puts the config into every checkpoint.

    Args:
        config: The run's whole config, as plain values.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        root = Path(trainer.default_root_dir)
        if trainer.is_global_zero and self.config:
            root.mkdir(parents=True, exist_ok=True)
            _free_name(root).write_text(yaml.safe_dump(self.config, sort_keys=False))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["modalign"] = {"config": self.config}


def refuse_second_run(root: Path) -> None:
    """Keep a new run out of a folder that holds one.

    Raises:
        ConfigError: There is a checkpoint in it.
    """
    there = newest_checkpoint(root)
    if there is not None:
        raise ConfigError(
            f"{root} holds a run already ({there.name}).",
            "Continue it with --ckpt_path last, choose another --trainer.default_root_dir, or remove the folder.",
        )


def _free_name(root: Path) -> Path:
    path, resumed = root / "config.yaml", 0
    while path.exists():
        resumed += 1
        path = root / f"config-resumed-{resumed}.yaml"
    return path
