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


def refuse_second_run(root: Path, checkpoint: Path | None = None) -> None:
    """Keep a run out of a folder that holds another.

    Args:
        root: The run's folder.
        checkpoint: What the run continues from, if anything; a folder's own checkpoint continues its own run.

    Raises:
        ConfigError: There is another run in the folder.
    """
    if checkpoint is not None and root.resolve() in checkpoint.resolve().parents:
        return
    there = newest_checkpoint(root) or next((path for path in [root / "config.yaml"] if path.exists()), None)
    if there is not None:
        other = f", and {checkpoint} is not of it" if checkpoint else ""
        raise ConfigError(
            f"{root} holds a run already ({there.name}){other}.",
            "Continue it with --ckpt_path last, choose another --trainer.default_root_dir, or remove the folder.",
        )


def _free_name(root: Path) -> Path:
    """`config.yaml`, or where the folder's run is continued the next `config-resumed-N.yaml`."""
    path, number = root / "config.yaml", 0
    continued = newest_checkpoint(root) is not None
    while continued and path.exists():
        number += 1
        path = root / f"config-resumed-{number}.yaml"
    return path
