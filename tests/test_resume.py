"""A run killed at any moment and resumed ends in the very weights, optimiser state and losses of one never killed."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.resuming import assert_identical, logged_run, outcome
from tests.toy import write_pairs

ROWS, BATCH, ACCUMULATE, EPOCHS = 45, 3, 2, 3  # 15 batches an epoch, an odd number: the last window is one batch
BATCHES = EPOCHS * ROWS // BATCH


def fit(data: Path, root: Path, *options: str) -> int | None:
    command = [
        *["fit", "--model.modality", "tests.toy.Letters", "--model.modality.dropout", "0.3"],
        *["--model.objective", "dpo", "--model.optimizer", "torch.optim.AdamW", "--model.optimizer.lr", "0.02"],
        *["--data.format", "tests.toy.Pairs", "--data.train", str(data), "--data.batch_size", str(BATCH)],
        *["--data.workers", "2", "--export.enabled", "false", "--trainer.accelerator", "cpu"],
        *["--trainer.max_epochs", str(EPOCHS), "--trainer.accumulate_grad_batches", str(ACCUMULATE)],
        *["--trainer.log_every_n_steps", "3", "--checkpoint.every_n_steps", "4"],
        *["--trainer.default_root_dir", str(root), *options],
    ]
    return logged_run(command, root)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("straight")
    data = write_pairs(folder / "pairs.jsonl", ROWS)
    assert fit(data, folder / "run") == 0, (folder / "run.log").read_text()
    end = outcome(folder / "run")
    assert len(end["logged"]) >= EPOCHS * 8 // 3
    return data, end


def kill_and_resume(data: Path, root: Path, *kill: str) -> dict[str, Any]:
    log = root.with_suffix(".log")
    assert fit(data, root, "--trainer.callbacks+=tests.killer.Kill", *kill) == -signal.SIGKILL, log.read_text()
    assert fit(data, root, "--ckpt_path", "last") == 0, log.read_text()
    return outcome(root)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_a_random_batch(tmp_path: Path, straight: tuple[Path, dict[str, Any]], seed: int) -> None:
    data, expected = straight
    batch = random.Random(seed).randint(9, BATCHES - 1)
    got = kill_and_resume(data, tmp_path / "run", f"--trainer.callbacks.batch={batch}")
    assert_identical(got, expected)


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written(tmp_path: Path, straight: tuple[Path, dict[str, Any]]) -> None:
    data, expected = straight
    got = kill_and_resume(data, tmp_path / "run", "--trainer.callbacks.in_write=2")
    assert_identical(got, expected)
    assert not list((tmp_path / "run" / "checkpoints").glob(".*.tmp"))
