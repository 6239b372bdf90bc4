"""Warnings of runs that ruin the policy or learn nothing: told when it is so, and only then."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.callbacks.drift import DriftLog
from modalign.core.displacement import Displacement, displacement_warning
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from tests.core.callbacks.fitting import fit, make_module
from tests.toy import Letters

RUINED = Displacement(accuracy=1.0, chosen=0.34, rejected=2.1, chosen_rose=0.95, rejected_rose=1.0)
BLIND = Displacement(accuracy=0.52, chosen=0.05, rejected=0.06, chosen_rose=0.9, rejected_rose=0.9)


def told(found: Displacement, objective: Any = None) -> str | None:
    return displacement_warning(found, 0.1, objective or Dpo(100.0))


def test_a_ruined_policy_is_told_with_its_figures_and_a_cure() -> None:
    warning = told(RUINED)
    assert warning is not None
    for words in ("ruining the policy", "accuracy reads 1.00", "risen by 34%", "rejected by 210%", "objective sum"):
        assert words in warning
    with_sft = told(RUINED, WeightedSum({"inner": WeightedSum({"dpo": Dpo(100.0), "sft": Sft()})}))
    assert with_sft is not None
    assert "Raise the weight of the sum's sft part" in with_sft


def test_with_less_accuracy_more_is_tolerated() -> None:
    assert told(replace(RUINED, accuracy=0.8)) is not None
    assert told(replace(RUINED, accuracy=0.8, chosen=0.25)) is None


def test_a_blind_run_is_told() -> None:
    warning = told(BLIND)
    assert warning is not None
    for words in ("learns no preference", "accuracy 0.52", "by 5% and 6%", "objective sft"):
        assert words in warning


@pytest.mark.parametrize(
    "sound",
    [
        replace(RUINED, chosen=0.05),  # within what is tolerated
        replace(RUINED, chosen=-0.2),  # the chosen gained
        replace(RUINED, accuracy=0.7, chosen=0.15),  # a noisy preference, which no loss drives far
        replace(BLIND, accuracy=0.65),
        replace(BLIND, rejected=0.01),  # as much as nothing
        replace(BLIND, chosen_rose=0.5),  # a few rows make the mean
        replace(BLIND, chosen=-0.05, chosen_rose=0.1),  # another reason, such as a caption's
        Displacement(0.5, 0.0, 0.0, 0.0, 0.0),  # nothing has moved yet
    ],
)
def test_nothing_is_told_of_other_runs(sound: Displacement) -> None:
    assert told(sound) is None


class Damaged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.damage = nn.Parameter(torch.zeros(()))


class Measured(Letters):
    """Both errors rise with one number, each at its own speed, whatever the rows."""

    name = "measured"
    tolerated_fall = 0.1

    def __init__(self, rises: tuple[float, float]) -> None:
        super().__init__()
        self.rises = rises

    def load(self, model: str | None = None) -> nn.Module:
        return Damaged()

    def likelihood(self, model: Any, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        errors = 1 + model.damage * torch.tensor(self.rises)
        return Likelihood(-errors.expand(len(batch), 2), batch.sizes)


class Unlearn(Dpo):
    """Lowers the likelihood of both, whatever the margin."""

    start_loss = None

    def forward(self, policy: Likelihood, reference: Any, batch: PreferenceBatch) -> Any:
        output = super().forward(policy, reference, batch)
        (term,) = output.terms
        return replace(output, terms=(replace(term, values=policy.logps.sum(1)),))


@pytest.mark.parametrize(
    ("rises", "words"),
    [((0.5, 2.0), "ruining"), ((0.02, 2.0), None), ((0.5, 0.1), None), ((-0.01, 2.0), None)],
)
def test_a_run_tells_once_and_validates_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rises: tuple[float, float], words: str | None
) -> None:
    drift = DriftLog(batches=2)
    module = make_module(
        Measured(rises),
        objective=Unlearn(1.0),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )
    fit(tmp_path, module=module, data={"validation_rows": 6}, callbacks=[drift], max_epochs=2)
    out = capsys.readouterr().out
    assert len(drift.warnings) == (words is not None)
    if words is not None:
        assert out.count("warning: ") == 1
        assert words in drift.warnings[0]
        assert drift.warnings[0] in out
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "drift/chosen" in row] == [3, 6]


def test_texts_may_fall(tmp_path: Path) -> None:
    class Texts(Measured):
        tolerated_fall = None

    drift = DriftLog(batches=2)
    module = make_module(
        Texts((0.5, 2.0)), objective=Unlearn(1.0), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)
    )
    fit(tmp_path, module=module, data={"validation_rows": 6}, callbacks=[drift], max_epochs=2)
    assert drift.warnings == []
