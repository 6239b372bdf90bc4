"""The average that Ema keeps, from a config to an export."""

from pathlib import Path

import torch

from modalign.commands.resume import read_checkpoint
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.callbacks.ema import average_in
from tests.cli.conftest import Run

EMA = "trainer: {callbacks: [{class_path: Ema, init_args: {decay: 0.5}}]}\n"


def test_export_takes_the_average_or_the_raw_weights(run: Run, folder: Path) -> None:
    (folder / "ema.yaml").write_text(EMA)
    assert run("fit", "--config", "run.yaml", "--config", "ema.yaml").status == 0
    newest = newest_checkpoint(folder / "run")
    assert newest is not None
    checkpoint = read_checkpoint(newest)
    average, raw = average_in(checkpoint), checkpoint["state_dict"]
    assert average is not None
    assert not torch.equal(average["head.weight"], raw["policy.head.weight"])
    ran = run("export", "run", "--out", "averaged")
    assert "the average that Ema kept" in ran.out
    assert torch.equal(torch.load(folder / "averaged" / "weights.pt")["head.weight"], average["head.weight"])
    ran = run("export", "run", "--out", "raw", "--weights", "raw")
    assert "average" not in ran.out
    assert torch.equal(torch.load(folder / "raw" / "weights.pt")["head.weight"], raw["policy.head.weight"])


def test_no_average_is_told(run: Run, folder: Path) -> None:
    assert run("fit", "--config", "run.yaml").status == 0
    ran = run("export", "run", "--out", "averaged", "--weights", "average")
    assert ran.status == 2
    assert "holds no average" in ran.err
    assert "callback Ema" in ran.err
    assert "invalid choice: 'avg'" in run("export", "run", "--out", "averaged", "--weights", "avg").err
    assert not (folder / "averaged").exists()
