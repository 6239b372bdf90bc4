"""Runs that only look as if they trained are stopped, and say why."""

from pathlib import Path

import pytest
import torch
from torch import nn

from modalign.core.callbacks.tripwires import STILL_STEPS
from modalign.core.errors import UserError
from modalign.core.objectives.pairwise import Dpo, Hinge, Ipo, RobustDpo
from modalign.core.reference import FrozenReference
from tests.core.callbacks.fitting import fit, make_module
from tests.toy import Letters


class Frozen(Letters):
    def load(self, model: str | None = None) -> nn.Module:
        return super().load(model).requires_grad_(False)


class Unlike(FrozenReference):
    """Says it equals the policy and does not."""

    def prepare(self, context) -> None:
        super().prepare(context)
        with torch.no_grad():
            self.model.head.weight.mul_(1.5)


class Exploding(Letters):
    """Finds one row infinitely unlikely."""

    def likelihood(self, model, batch, needs):
        found = super().likelihood(model, batch, needs)
        found.logps = torch.where((batch.index == 7)[:, None], found.logps * float("inf"), found.logps)
        return found


def test_nothing_trainable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No parameter of the policy is trainable"):
        fit(tmp_path, module=make_module(Frozen()))


def test_nothing_moves(tmp_path: Path) -> None:
    still = make_module(learning_rate=1e-30)
    with pytest.raises(UserError, match="No parameter has moved in 10 optimiser steps"):
        fit(tmp_path, module=still, max_epochs=STILL_STEPS)


def test_a_learning_rate_of_zero_in_warmup_is_no_alarm(tmp_path: Path) -> None:
    from modalign.core.schedule import Schedule

    fit(tmp_path, module=make_module(schedule=Schedule("constant", warmup_steps=2)))


@pytest.mark.parametrize("objective", [Dpo(0.1), Dpo(0.1, label_smoothing=0.2), RobustDpo(0.1), Ipo(0.1), Hinge(0.1)])
def test_a_reference_unlike_the_policy(tmp_path: Path, objective) -> None:
    with pytest.raises(UserError, match=r"The first loss is .* it must be"):
        fit(tmp_path, module=make_module(objective=objective, reference=Unlike()))


@pytest.mark.parametrize("objective", [Dpo(0.1), Dpo(0.1, label_smoothing=0.2), RobustDpo(0.1), Ipo(0.1), Hinge(0.1)])
def test_an_equal_reference_passes(tmp_path: Path, objective) -> None:
    fit(tmp_path, module=make_module(objective=objective))


def test_another_model_by_name_is_no_alarm(tmp_path: Path) -> None:
    class Other(Letters):
        def load(self, model: str | None = None) -> nn.Module:
            loaded = super().load(model)
            if model:
                nn.init.normal_(loaded.head.weight)
            return loaded

    fit(tmp_path, module=make_module(Other(), reference=FrozenReference(model="another")))


def test_an_infinite_loss_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The loss is .*pairs\.jsonl, row 7"):
        fit(tmp_path, module=make_module(Exploding()))
