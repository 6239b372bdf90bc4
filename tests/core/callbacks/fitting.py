"""One short run of the toy modality."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.pairwise import Dpo
from modalign.core.schedule import Schedule
from tests.toy import Letters, Pairs, write_pairs


def fit(
    root: Path, *, module: PreferenceModule | None = None, data: dict[str, Any] | None = None, **trainer: Any
) -> Trainer:
    """Fit 24 pairs in 3 steps an epoch of 8, unless told otherwise."""
    seed_everything(5, verbose=False)
    rows = write_pairs(root / "pairs.jsonl", rows=24)
    module = module or make_module()
    settings = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": JsonlLogger(str(root)),
        "log_every_n_steps": 1,
        "default_root_dir": root,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        **trainer,
    }
    fitted = Trainer(**settings)
    fitted.fit(module, PreferenceDataModule(Pairs(), **{"train": str(rows), "batch_size": 8, **(data or {})}))
    return fitted


def make_module(modality: Letters | None = None, learning_rate: float = 0.05, **options: Any) -> PreferenceModule:
    return PreferenceModule(
        modality or Letters(),
        options.pop("objective", Dpo(beta=0.5)),
        optimizer=options.pop("optimizer", lambda parameters: torch.optim.AdamW(parameters, lr=learning_rate)),
        schedule=options.pop("schedule", Schedule("constant")),
        **options,
    )
