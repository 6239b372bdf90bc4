"""Mistakes that only a run can find end in a message, and before training where that can be."""

from pathlib import Path

import pytest
import yaml

from modalign.cli import main
from tests.recipes import stand_ins

SMALL = ["--trainer.max_steps", "2", "--data.batch_size", "2", "--trainer.accumulate_grad_batches", "1"]
STOP = "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--export.options", "{merg: false}"], "no option 'merg'"),
        (["--export.options", "{merge: false}"], "this policy has none"),
        (["--trainer.val_check_interval", "100"], "val_check_interval"),
        ([STOP, "--trainer.callbacks.monitor", "val/losss"], "val/losss"),
    ],
)
def test_refused(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    small = [*SMALL, "--trainer.max_epochs", "1", "--trainer.val_check_interval", "2"]
    assert main(["fit", *stand_ins("text/dpo", tiny_model, tmp_path), *small, *options]) in (1, 2)
    error = capsys.readouterr().err
    assert "modalign: error:" in error
    assert told in error
    assert "Traceback" not in error


def test_evaluation_may_use_other_batches(tiny_model: Path, tmp_path: Path) -> None:
    parts = stand_ins("text/dpo", tiny_model, tmp_path)
    assert main(["fit", *parts, *SMALL]) == 0
    front = yaml.safe_load((tmp_path / "run" / "export" / "README.md").read_text().split("---")[1])
    assert front["library_name"] == "transformers"
    assert main(["validate", *parts, "--data.batch_size", "3", "--ckpt_path", "last"]) == 0
