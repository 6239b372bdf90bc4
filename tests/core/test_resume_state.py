"""Every option that has state resumes exactly: streams, moving references, running means, validation in mid-epoch."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from lightning.pytorch import Callback, Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.callbacks.checkpoint import ResumeCheckpoint, checkpoint_folder, newest_checkpoint
from modalign.core.callbacks.drift import DriftLog
from modalign.core.checkpoint_io import AtomicCheckpointIO
from modalign.core.errors import ConfigError
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Bco, Kto
from modalign.core.reference import CachedReference, MovingReference
from modalign.core.schedule import Schedule
from tests.resuming import assert_identical, outcome
from tests.toy import Letters, Pairs, write_pairs


def fit(
    data: Path,
    root: Path,
    case: dict[str, Any],
    resume: Path | None = None,
    limits: dict[str, int] | None = None,
    devices: int = 1,
) -> dict[str, Any]:
    seed_everything(11, verbose=False)
    parts = case.get("parts", dict)()
    module = PreferenceModule(
        Letters(dropout=0.2),
        parts.pop("objective", Dpo(beta=0.5)),
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.02),
        schedule=parts.pop("schedule", Schedule("constant" if case.get("streaming") else "linear", warmup_steps=2)),
        **parts,
    )
    names = ("streaming", "shuffle", "shuffle_buffer", "workers", "validation_rows", "on_bad_row", "batch_size")
    options = {"batch_size": 3, **{name: case[name] for name in names if name in case}}
    limits = {"max_epochs": 2} if limits is None else limits
    trainer = Trainer(
        **limits,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        accumulate_grad_batches=2,
        val_check_interval=case.get("val_check_interval"),
        logger=JsonlLogger(str(root)),
        log_every_n_steps=2,
        default_root_dir=root,
        callbacks=[*case.get("callbacks", []), ResumeCheckpoint(case.get("every", 3), keep=99), DriftLog(batches=2)],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    datamodule = PreferenceDataModule(Pairs(), train=str(data), **options)
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
    "checkpoint at the end of a stream's epoch": {"streaming": True, "shuffle_buffer": 7, "every": 5},
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


@pytest.mark.parametrize("name", ["moving reference", "stream"])
@pytest.mark.parametrize(
    "limits", [{"max_epochs": 1}, {"max_epochs": 2, "max_steps": 3}, {"max_epochs": 2, "max_steps": 7}]
)
def test_a_finished_run_can_be_extended(tmp_path: Path, name: str, limits: dict[str, int]) -> None:
    """The last checkpoint of a run that ended, wherever it ended, is where a longer one goes on."""
    data = write_pairs(tmp_path / "pairs.jsonl", rows=29)
    case = {**CASES[name], "every": 500}
    parts = case.get("parts", dict)
    case["parts"] = lambda: {**parts(), "schedule": Schedule("constant")}
    straight = fit(data, tmp_path / "straight", case, limits={"max_epochs": 3})
    short = fit(data, tmp_path / "extended", case, limits=limits)
    last = newest_checkpoint(tmp_path / "extended")
    assert short["step"] == {1: 5, 3: 3, 7: 7}[limits.get("max_steps", 1)]
    assert_identical(
        without_drift(fit(data, tmp_path / "extended", case, last, {"max_epochs": 3})), without_drift(straight)
    )


def without_drift(outcome: dict[str, Any]) -> dict[str, Any]:
    """Drift is measured where a run ends, so a run that ended twice has measured it twice."""
    kept = [row for row in outcome["logged"] if "drift/chosen" not in row and "partial" not in row]
    return {**outcome, "logged": kept}


def test_stopped_early_then_continued(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
            trainer.should_stop = True

    data = write_pairs(tmp_path / "pairs.jsonl", rows=29)
    case = {
        "validation_rows": 6,
        "val_check_interval": 4,
        "every": 500,
        "parts": lambda: {"schedule": Schedule("constant")},
    }
    straight = fit(data, tmp_path / "straight", case)
    stopped = fit(data, tmp_path / "run", {**case, "callbacks": [Stop()]})
    assert stopped["step"] == 2
    resumed = fit(data, tmp_path / "run", case, newest_checkpoint(tmp_path / "run"))
    assert_identical(without_drift(resumed)["weights"], straight["weights"])


def test_stream_with_chunks_of_bad_rows(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=40)
    lines = data.read_text().splitlines()
    for row in [*range(6, 12), *range(21, 30)]:
        lines[row] = "{"
    data.write_text("\n".join(lines) + "\n")
    case = {"streaming": True, "shuffle": False, "on_bad_row": "skip", "every": 2}
    straight = fit(data, tmp_path / "straight", case)
    for checkpoint in sorted(checkpoint_folder(tmp_path / "straight").iterdir())[:-1]:
        resumed = tmp_path / checkpoint.stem
        resumed.mkdir()
        got = fit(data, resumed, case, checkpoint)
        assert_identical(got["weights"], straight["weights"])


def test_another_batch_size_is_refused(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=29)
    fit(data, tmp_path / "run", {}, limits={"max_steps": 3})
    with pytest.raises(ConfigError, match=r"data\.batch_size 3, and this run has 4"):
        fit(data, tmp_path / "run", {"batch_size": 4}, newest_checkpoint(tmp_path / "run"))


def test_an_earlier_checkpoint_takes_the_later_ones_away(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=29)
    fit(data, tmp_path / "run", {"every": 2})
    folder = checkpoint_folder(tmp_path / "run")
    fit(data, tmp_path / "run", {"every": 2}, folder / "step-0000004.ckpt", {"max_steps": 5})
    assert sorted(path.name for path in folder.iterdir())[-1] == "step-0000005.ckpt"


def _rank(rank: int, data: Path, root: Path, resume: Path | None, port: int) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank)
    )
    torch.set_num_threads(1)
    fit(data, root, {"validation_rows": 6, "batch_size": 2}, resume, devices=2)


def test_two_ranks_resume(tmp_path: Path) -> None:
    """Metrics and drift are those of all ranks, also in the checkpoint."""
    data = write_pairs(tmp_path / "pairs.jsonl", rows=29)
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    port = 23500 + hash(tmp_path) % 2000
    mp.start_processes(_rank, (data, straight, None, port), nprocs=2, start_method="fork")
    first = sorted(checkpoint_folder(straight).iterdir())[0]
    resumed.mkdir()
    (resumed / "metrics.jsonl").write_bytes((straight / "metrics.jsonl").read_bytes())
    mp.start_processes(_rank, (data, resumed, first, port + 1), nprocs=2, start_method="fork")
    assert_identical(outcome(resumed), outcome(straight))
