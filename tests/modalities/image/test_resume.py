"""A run of images killed at any moment and resumed ends in the numbers of one never killed, however it reads data."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.modalities.image.tiny import write_pairs
from tests.test_resume import ROOT, assert_identical, outcome

ROWS, BATCH, ACCUMULATE, EPOCHS = 14, 2, 2, 2  # 7 batches an epoch, an odd number: the last window is one batch
BATCHES = EPOCHS * ROWS // BATCH
LORA = ["--model.modality.lora.r", "4"]


def fit(model: Path, data: Path, root: Path, workers: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        *[sys.executable, "-m", "modalign", "fit", "--model.modality", "image", "--model.modality.model", str(model)],
        *["--model.modality.resolution", "16", "--model.modality.flip", "true"],
        *["--model.modality.caption_dropout", "0.3", "--model.objective", "dpo", "--model.objective.beta", "500"],
        *["--model.reference", "cached", "--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001"],
        *["--data.format", "image_pairs", "--data.train", str(data), "--data.batch_size", str(BATCH)],
        *["--data.workers", str(workers), "--export.enabled", "false", "--trainer.accelerator", "cpu"],
        *["--trainer.max_epochs", str(EPOCHS), "--trainer.accumulate_grad_batches", str(ACCUMULATE)],
        *["--trainer.log_every_n_steps", "2", "--checkpoint.every_n_steps", "2"],
        *["--trainer.default_root_dir", str(root), *options],
    ]
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MODALIGN_CACHE": str(root.parent / f"{root.name}-cache")}
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "options"), [(0, []), (1, LORA)], ids=["full", "lora"])
def test_killed_at_a_random_batch(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], seed: int, options: list[str]
) -> None:
    """Caches, with their flips and left-out prompts, are each run's own; the straight run reads without workers."""
    model, data = pipeline_folder("stable_diffusion"), write_pairs(tmp_path, ROWS)
    straight = fit(model, data, tmp_path / "straight", 0, *options)
    assert straight.returncode == 0, straight.stderr

    batch = random.Random(seed).randint(2 * ACCUMULATE + 1, BATCHES - 1)
    kill = ["--trainer.callbacks+=tests.killer.Kill", f"--trainer.callbacks.batch={batch}"]
    killed = fit(model, data, tmp_path / "killed", 2, *options, *kill)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = fit(model, data, tmp_path / "killed", 2, *options, "--ckpt_path", "last")
    assert resumed.returncode == 0, resumed.stderr

    expected = outcome(tmp_path / "straight")
    assert expected["step"] == EPOCHS * 4
    assert_identical(outcome(tmp_path / "killed"), expected)
