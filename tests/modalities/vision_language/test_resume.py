"""A vision-language run killed at any moment and resumed ends in the numbers of one never killed."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recipes import write_pictured
from tests.test_resume import ROOT, assert_identical, outcome

ROWS, BATCH, ACCUMULATE, EPOCHS = 14, 2, 2, 2  # 7 batches an epoch, an odd number: the last window is one batch
BATCHES = EPOCHS * ROWS // BATCH
LORA = ["--model.modality.lora.r", "4", "--model.objective", "rdpo_visual"]
FULL = ["--model.reference", "cached", "--model.objective", "mdpo"]


def fit(model: Path, data: Path, root: Path, workers: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        *[sys.executable, "-m", "modalign", "fit", "--model.modality", "vision_language"],
        *[
            "--model.modality.model",
            str(model),
            "--model.modality.other_image",
            "cropped",
            "--model.modality.max_length",
            "256",
        ],
        *["--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001"],
        *["--data.format", "vision_preference", "--data.train", str(data), "--data.batch_size", str(BATCH)],
        *["--data.workers", str(workers), "--export.enabled", "false", "--trainer.accelerator", "cpu"],
        *["--trainer.max_epochs", str(EPOCHS), "--trainer.accumulate_grad_batches", str(ACCUMULATE)],
        *["--trainer.log_every_n_steps", "2", "--checkpoint.every_n_steps", "2"],
        *["--trainer.default_root_dir", str(root), *options],
    ]
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MODALIGN_CACHE": str(root.parent / f"{root.name}-cache")}
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "seed", "options"), [("qwen2_5_vl", 0, LORA), ("llava", 1, FULL)], ids=["lora", "full"]
)
def test_killed_at_a_random_batch(
    tmp_path: Path, vlm_folder: Callable[[str], Path], family: str, seed: int, options: list[str]
) -> None:
    """The caches of references are each run's own; the straight run reads without workers."""
    model, data = vlm_folder(family), write_pictured(tmp_path, ROWS)
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
