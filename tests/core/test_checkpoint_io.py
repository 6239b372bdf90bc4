"""A checkpoint is whole or not there, also when the process is killed while it writes."""

import multiprocessing
import random
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.checkpoint_io import AtomicCheckpointIO

FORK = multiprocessing.get_context("fork")


def write_without_end(target: Path, ready: Event) -> None:
    writer, number = AtomicCheckpointIO(), 0
    ready.set()
    while True:
        number += 1
        writer.save_checkpoint({"number": number, "weights": torch.full((400_000,), float(number))}, target)


def test_killed_while_writing(tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "step-0000001.ckpt"
    draw = random.Random(5)
    seen = 0
    for _ in range(5):
        ready = FORK.Event()
        process = FORK.Process(target=write_without_end, args=(target, ready))
        process.start()
        assert ready.wait(60)
        time.sleep(0.05 + draw.random() * 0.1)
        process.kill()
        process.join()
        if target.exists():
            saved = torch.load(target, weights_only=True)
            assert torch.equal(saved["weights"], torch.full((400_000,), float(saved["number"])))
            seen += 1
    assert seen, "no writer got as far as one checkpoint"


def test_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "step-0000001.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"number": 1}, target)
    with pytest.raises(Exception, match="pickle"):
        writer.save_checkpoint({"number": lambda: 1}, target)
    assert torch.load(target, weights_only=True) == {"number": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000001.ckpt"]


def test_the_newest_readable_one(tmp_path: Path) -> None:
    writer, folder = AtomicCheckpointIO(), tmp_path / "checkpoints"
    assert newest_checkpoint(tmp_path) is None
    for step in (9, 10):
        writer.save_checkpoint({"step": step}, folder / f"step-{step:07d}.ckpt")
    (folder / "step-0000011.ckpt").write_bytes(b"torn")
    assert newest_checkpoint(tmp_path) == folder / "step-0000010.ckpt"
