"""The spread of the margin as a run starts, and the beta that would fit."""

import json
from pathlib import Path

import pytest

from modalign.core.callbacks.margin_spread import spread_warning
from modalign.core.objectives.base import Objective
from modalign.core.objectives.pairwise import Dpo, Ipo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from tests.core.callbacks.fitting import fit, make_module


def logged(root: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("objective", [Dpo(0.5), WeightedSum({"sft": Sft(), "dpo": Dpo(0.5)})], ids=["dpo", "sum"])
def test_the_spread_of_the_first_steps_is_logged_once(tmp_path: Path, objective: Objective) -> None:
    """A batch of one row: the margins that are logged at each step are the rows' own."""
    fit(tmp_path, module=make_module(objective=objective), data={"batch_size": 1}, max_steps=23, max_epochs=-1)
    (row,) = [row for row in logged(tmp_path) if "start/margin_std" in row]
    assert row["step"] == 20
    margins = [row["rewards/margins"] for row in logged(tmp_path) if "rewards/margins" in row][:20]
    mean = sum(margins) / 20
    expected = (sum((margin - mean) ** 2 for margin in margins) / 20) ** 0.5
    assert row["start/margin_std"] == pytest.approx(expected, rel=1e-5)
    assert expected > 0


def test_a_loss_that_does_not_saturate_has_none(tmp_path: Path) -> None:
    module = make_module(objective=Ipo(0.5))
    fit(tmp_path, module=module, data={"batch_size": 1}, max_steps=21, max_epochs=-1)
    assert not [row for row in logged(tmp_path) if "start/margin_std" in row]


def test_a_beta_is_named_where_the_signs_are_random() -> None:
    warning = spread_warning("dpo.beta", 2000.0, 0.3, 5.0)
    assert warning is not None
    assert "dpo.beta 2000 is too large" in warning
    assert "standard deviation of 5 about 0.3" in warning
    assert "Try dpo.beta 4e+02" in warning
    assert spread_warning("beta", 2000.0, 0.3, 2.0) is None  # wide, but not flat
    assert spread_warning("beta", 2000.0, 6.0, 5.0) is None  # the run tells chosen from rejected
    assert spread_warning("beta", 2000.0, 0.0, 0.001) is None  # a small learning rate
