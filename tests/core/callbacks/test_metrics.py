"""What is logged, and that it is what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from modalign.core.callbacks.drift import DriftLog
from modalign.core.errors import ConfigError
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from tests.core.callbacks.fitting import fit, make_module

TRL_NAMES = {"loss", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen"}
OURS = {"logps/rejected", "grad_norm", "learning_rate", "epoch", "lengths/chosen", "lengths/rejected"}
SPEED = {"throughput/samples_per_second", "throughput/tokens_per_second"}


def logged(root: Path, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if name in row]


def test_names(tmp_path: Path) -> None:
    fit(tmp_path, data={"validation_rows": 6})
    training = logged(tmp_path, "loss")
    assert [row["step"] for row in training] == [1, 2, 3]
    assert training[0].keys() >= TRL_NAMES | OURS | SPEED
    (validation,) = logged(tmp_path, "val/loss")
    assert validation["step"] == 3
    assert {f"val/{name}" for name in TRL_NAMES} <= validation.keys()
    assert training[0]["loss"] == pytest.approx(0.693147, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 18])
def test_validation_is_exact_whatever_the_batch(tmp_path: Path, batch_size: int) -> None:
    """A token mean over uneven batches is no mean of means."""
    objective = WeightedSum({"dpo": Dpo(0.5), "sft": Sft("token")}, {"sft": 0.3})
    data = {"validation_rows": 7, "validation_batch_size": batch_size}
    fit(tmp_path, module=make_module(objective=objective), data=data)
    (row,) = logged(tmp_path, "val/loss")
    reference = tmp_path / "whole"
    reference.mkdir()
    objective = WeightedSum({"dpo": Dpo(0.5), "sft": Sft("token")}, {"sft": 0.3})
    fit(reference, module=make_module(objective=objective), data={**data, "validation_batch_size": 7})
    (whole,) = logged(reference, "val/loss")
    assert row == pytest.approx(whole, rel=1e-5)


def test_drift_is_the_change_since_the_start(tmp_path: Path) -> None:
    """With a frozen copy as the reference, the drift is the implicit reward over beta."""
    fit(
        tmp_path, data={"validation_rows": 6, "validation_batch_size": 6}, callbacks=[DriftLog(batches=1)], max_epochs=2
    )
    validation, drift = logged(tmp_path, "val/loss"), logged(tmp_path, "drift/chosen")
    assert [row["step"] for row in drift] == [3, 6]
    for rewards, change in zip(validation, drift, strict=True):
        assert change["drift/chosen"] == pytest.approx(rewards["val/rewards/chosen"] / 0.5, rel=1e-4)
        assert change["drift/rejected"] == pytest.approx(rewards["val/rewards/rejected"] / 0.5, rel=1e-4)
        assert 0 <= change["drift/chosen_fell"] <= 1


def test_row_counts_are_logged_once(tmp_path: Path) -> None:
    fit(tmp_path, data={"max_rows": 20})
    (row,) = logged(tmp_path, "data/train/kept")
    assert row["step"] == 0
    assert (row["data/train/read"], row["data/train/kept"], row["data/train/truncated"]) == (20, 20, 0)


def test_drift_refuses_nothing() -> None:
    with pytest.raises(ConfigError, match="batches is 0"):
        DriftLog(batches=0)
