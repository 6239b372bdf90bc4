"""Every option that has state resumes exactly: streams, moving references, running means, validation in mid-epoch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.callbacks.checkpoint import ResumeCheckpoint, checkpoint_folder
from modalign.core.callbacks.drift import DriftLog
from modalign.core.checkpoint_io import AtomicCheckpointIO
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Bco, Kto
from modalign.core.reference import CachedReference, MovingReference
from modalign.core.schedule import Schedule
from tests.test_resume import assert_identical, outcome
from tests.toy import Letters, Pairs, write_pairs


def fit(data: Path, root: Path, case: dict[str, Any], resume: Path | None = None) -> dict[str, Any]:
    seed_everything(11, verbose=False)
    parts = case.get("parts", dict)()
    module = PreferenceModule(
        Letters(dropout=0.2),
        parts.pop("objective", Dpo(beta=0.5)),
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.02),
        schedule=Schedule("linear", warmup_steps=2) if not case.get("streaming") else Schedule("constant"),
        **parts,
    )
    options = {key: case[key] for key in ("streaming", "shuffle_buffer", "workers", "validation_rows") if key in case}
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=2,
        val_check_interval=case.get("val_check_interval"),
        logger=JsonlLogger(str(root)),
        log_every_n_steps=2,
        default_root_dir=root,
        callbacks=[ResumeCheckpoint(every_n_steps=case.get("every", 3), keep=99), DriftLog(batches=2)],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    datamodule = PreferenceDataModule(Pairs(), train=str(data), batch_size=3, **options)
    trainer.fit(module, datamodule, ckpt_path=resume)
    return outcome(root)


CASES: dict[str, dict[str, Any]] = {
    "moving reference": {"parts": lambda: {"reference": MovingReference(every=2, mix=0.4)}},
    "running mean": {"parts": lambda: {"objective": Bco()}},
    "mismatched cells": {"parts": lambda: {"objective": Kto(beta=0.5)}},
    "stream": {"streaming": True, "shuffle_buffer": 7},
    "stream with workers": {"streaming": True, "shuffle_buffer": 7, "workers": 2},
    "validation in mid-epoch": {"validation_rows": 6, "val_check_interval": 4},
    "checkpoint at the end of an epoch": {"every": 5},
}


@pytest.mark.parametrize("name", CASES)
def test_resumed_equals_straight(tmp_path: Path, name: str) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=29)  # 10 batches, 5 steps an epoch
    case = CASES[name]
    straight = fit(data, tmp_path / "straight", case)
    first = sorted(checkpoint_folder(tmp_path / "straight").iterdir())[0]
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    (resumed / "metrics.jsonl").write_bytes((tmp_path / "straight" / "metrics.jsonl").read_bytes())
    assert_identical(fit(data, resumed, case, first), straight)


def test_cached_reference_trains_like_frozen(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=29)
    cached = {"parts": lambda: {"reference": CachedReference(str(tmp_path / "cache.sqlite"))}}
    got, expected = fit(data, tmp_path / "cached", cached), fit(data, tmp_path / "frozen", {})
    for key, value in expected["weights"].items():
        torch.testing.assert_close(got["weights"][key], value, rtol=0, atol=1e-5)
