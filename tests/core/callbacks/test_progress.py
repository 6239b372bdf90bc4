"""What a person sees of a run that has no terminal."""

from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from modalign import PreferenceDataModule
from modalign.core.callbacks.progress import Progress
from tests.core.callbacks.fitting import fit, make_module
from tests.toy import Pairs, write_pairs


def test_a_line_for_every_logged_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, data={"validation_rows": 6}, callbacks=[Progress()], enable_progress_bar=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert [line.split(":")[0] for line in lines] == [
        "epoch 0, step 1",
        "epoch 0, step 2",
        "validation at step 3",
        "epoch 0, step 3",
    ]
    assert lines[0].endswith("loss 0.6931, accuracy 0, margin 0")


def test_validate_prints_every_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        callbacks=[Progress()],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    data = PreferenceDataModule(Pairs(), validation=str(write_pairs(tmp_path / "pairs.jsonl", rows=5)))
    trainer.validate(make_module(), data, verbose=False)
    told = capsys.readouterr().out
    assert "val/loss" in told
    assert "val/logps/chosen" in told
