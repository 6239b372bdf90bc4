"""What a run ends in, and killing one at a random batch to see that it resumes as if nothing had happened."""

import json
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from modalign.core.callbacks.checkpoint import newest_checkpoint
from tests.forking import forked

ROWS, BATCH, ACCUMULATE, EPOCHS = 14, 2, 2, 2  # 7 batches an epoch, an odd number: the last window is one batch
BATCHES = EPOCHS * ROWS // BATCH


def outcome(root: Path) -> dict[str, Any]:
    """Weights, optimiser, schedule, and every logged number that is not a speed."""
    newest = newest_checkpoint(root)
    assert newest is not None
    saved = torch.load(newest, weights_only=True)
    logged = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    numbers = [{k: v for k, v in row.items() if not k.startswith("throughput")} for row in logged]
    return {
        "step": saved["global_step"],
        "weights": saved["state_dict"],
        "optimizer": saved["optimizer_states"],
        "schedule": saved["lr_schedulers"],
        "logged": numbers,
    }


def assert_identical(left: Any, right: Any) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_identical(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_identical(one, other)
    else:
        assert left == right


def assert_resumes(folder: Path, data: Path, options: Sequence[str], seed: int) -> None:
    """A run killed at a batch drawn by `seed` and resumed ends in the numbers of one never killed.

    Caches are each run's own; the straight run reads without workers.

    Args:
        folder: Where the runs go.
        data: A file of `ROWS` rows.
        options: Of `modalign fit`: modality, objective and format.
        seed: Decides when.
    """
    assert _fit(data, folder / "straight", 0, *options) == 0, (folder / "straight.log").read_text()

    batch = random.Random(seed).randint(2 * ACCUMULATE + 1, BATCHES - 1)
    kill = ["--trainer.callbacks+=tests.killer.Kill", f"--trainer.callbacks.batch={batch}"]
    log = folder / "killed.log"
    assert _fit(data, folder / "killed", 2, *options, *kill) == -signal.SIGKILL, log.read_text()
    assert _fit(data, folder / "killed", 2, *options, "--ckpt_path", "last") == 0, log.read_text()

    expected = outcome(folder / "straight")
    assert expected["step"] == EPOCHS * 4
    assert_identical(outcome(folder / "killed"), expected)


def _fit(data: Path, root: Path, workers: int, *options: str) -> int | None:
    command = [
        *["fit", "--data.train", str(data), "--data.batch_size", str(BATCH), "--data.workers", str(workers)],
        *["--export.enabled", "false", "--trainer.accelerator", "cpu"],
        *["--trainer.max_epochs", str(EPOCHS), "--trainer.accumulate_grad_batches", str(ACCUMULATE)],
        *["--trainer.log_every_n_steps", "2", "--checkpoint.every_n_steps", "2"],
        *["--trainer.default_root_dir", str(root), *options],
    ]
    return logged_run(command, root)


def logged_run(command: Sequence[str], root: Path) -> int | None:
    """The exit code of `modalign` in a process of its own.

    Args:
        command: What follows `modalign`.
        root: The run's folder; what is printed goes to `root`.log, caches to `root`-cache.
    """
    log = root.with_suffix(".log")
    return forked(command, log, log, {"MODALIGN_CACHE": str(root.parent / f"{root.name}-cache")})
