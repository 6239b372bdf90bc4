"""What a config's trainer settings say of a run, without the devices that it will run on."""

from typing import Any

import torch
from lightning.pytorch import Trainer

from modalign.core.run_length import RunLength

_LIMITS = (
    "max_steps",
    "max_epochs",
    "max_time",
    "limit_train_batches",
    "overfit_batches",
    "fast_dev_run",
    "accumulate_grad_batches",
)


def run_length(trainer: Any) -> RunLength:
    """How long the run will be.

    Args:
        trainer: The section as parsed.
    """
    limits = {name: trainer[name] for name in _LIMITS}
    return RunLength.of(Trainer(**limits, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False))


def ranks(trainer: Any) -> int:
    """How many ranks the run will have; where it takes what devices there are, it is taken to run on this machine.

    Args:
        trainer: The section as parsed.
    """
    devices = trainer.devices
    if isinstance(devices, str) and devices not in ("auto", "-1"):
        devices = [part for part in devices.split(",") if part.strip()] if "," in devices else int(devices)
    if devices in ("auto", "-1", -1):
        gpus = torch.cuda.device_count() if trainer.accelerator != "cpu" else 0
        devices = max(1, gpus)
    each = len(devices) if isinstance(devices, list) else int(devices)
    return each * int(trainer.num_nodes)
