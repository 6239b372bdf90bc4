"""Sums of objectives: published combinations, what is united, what is refused."""

import pytest
import torch

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Feedback, Metric, Needs, Objective, ObjectiveOutput, Term
from modalign.core.objectives.pairwise import Dpo, Ipo
from modalign.core.objectives.pointwise import Bco, Kto
from modalign.core.objectives.reference_free import Orpo, SimPo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from tests.core.objectives.batches import LN2, assert_close, gradient, pairs, random_pairs


class Listwise(Objective):
    """An objective of lists that wants tokens, without gradient for cells of a role of its own."""

    feedback = Feedback.LISTWISE
    uses_reference = False
    extra_roles = ("calibration",)

    @property
    def needs(self) -> Needs:
        return Needs(token_logps=True, extra=frozenset({"divergence"}), no_grad_roles=frozenset({"calibration"}))

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        return ObjectiveOutput((Term(policy.logps.sum(dim=1)),), {"total": Metric(policy.logps.detach().sum(dim=1))})


def per_example(objective: Objective) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row's loss where all terms are means over rows, and the batch's."""
    policy, reference, batch = pairs()
    output = objective(policy, reference, batch)
    assert all(term.per_role is None for term in output.terms)
    rows = torch.stack([term.coefficient * term.values for term in output.terms]).sum(dim=0)
    return rows, output.loss(batch)


def test_rpo_is_dpo_and_summed_likelihood() -> None:
    """2405.16436, Eq. 4.8, with eta * beta = 0.005."""
    rows, loss = per_example(WeightedSum({"dpo": Dpo(0.1), "sft": Sft("sum")}, {"sft": 0.005}))
    assert_close(rows, [0.668759556, 0.708659681, 0.587829967], 2e-9)
    assert_close(loss, 0.655083068, 2e-9)


def test_iterative_rpo_is_dpo_and_likelihood_per_sequence() -> None:
    rows, loss = per_example(WeightedSum({"dpo": Dpo(0.1), "sft": Sft("sequence")}))
    assert_close(rows, [1.325426222, 1.748159681, 1.080329967], 2e-9)
    assert_close(loss, 1.384638623, 2e-9)


def test_token_mean_is_over_the_batch() -> None:
    policy, reference, batch = pairs()
    objective = WeightedSum({"dpo": Dpo(0.1), "sft": Sft("token")}, {"dpo": 2.0, "sft": 0.5})
    assert_close(objective(policy, reference, batch).loss(batch), 2 * 0.645749734 + 0.5 * 0.7, 2e-9)


def test_orpo_is_a_sum_of_its_parts() -> None:
    """Coefficients multiply: a weighted sum scales a part's own terms."""
    policy, _, batch = pairs()
    doubled = gradient(WeightedSum({"orpo": Orpo(0.1)}, {"orpo": 2.0}), policy, None, batch)
    assert_close(doubled, 2 * gradient(Orpo(0.1), policy, None, batch))


def test_gradient_is_the_sum_of_gradients() -> None:
    policy, reference, batch = random_pairs(6)
    objective = WeightedSum({"ipo": Ipo(), "kto": Kto(), "sft": Sft()}, {"ipo": 0.1, "kto": 3.0})
    expected = (
        0.1 * gradient(Ipo(), policy, reference, batch)
        + 3.0 * gradient(Kto(), policy, reference, batch)
        + gradient(Sft(), policy, None, batch)
    )
    assert_close(gradient(objective, policy, reference, batch), expected)


def test_weights_change_the_loss() -> None:
    policy, reference, batch = pairs()
    parts = lambda: {"dpo": Dpo(), "sft": Sft()}  # noqa: E731
    losses = {
        name: WeightedSum(parts(), weights)(policy, reference, batch).loss(batch).item()
        for name, weights in {"none": None, "dpo": {"dpo": 0.5}, "sft": {"sft": 0.5}, "zero": {"sft": 0.0}}.items()
    }
    assert len(set(losses.values())) == 4
    assert losses["zero"] == pytest.approx(Dpo()(policy, reference, batch).loss(batch).item())


def test_first_part_keeps_a_metric_that_two_log() -> None:
    policy, reference, batch = pairs()
    metrics = WeightedSum({"dpo": Dpo(0.1), "ipo": Ipo(0.2), "sft": Sft()})(policy, reference, batch).metrics
    assert_close(metrics["rewards/chosen"].values, [0.06, -0.03, 0.08])
    assert_close(metrics["ipo/rewards/chosen"].values, [0.12, -0.06, 0.16])
    assert {"logps/chosen", "ipo/logps/chosen", "sft/logps/chosen", "nll_loss"} <= set(metrics)
    assert not any(name.startswith("dpo/") for name in metrics)


@pytest.mark.parametrize(
    ("parts", "feedback"),
    [
        ({"sft": Sft()}, Feedback.DEMONSTRATION),
        ({"kto": Kto(), "bco": Bco()}, Feedback.POINTWISE),
        ({"dpo": Dpo(), "sft": Sft()}, Feedback.PAIRWISE),
        ({"dpo": Dpo(), "kto": Kto()}, Feedback.PAIRWISE),
        ({"kto": Kto(), "sft": Sft()}, Feedback.PAIRWISE),
        ({"list": Listwise()}, Feedback.LISTWISE),
    ],
)
def test_feedback_is_what_all_parts_can_use(parts: dict[str, Objective], feedback: Feedback) -> None:
    assert WeightedSum(parts).feedback is feedback


def test_parts_of_different_data_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dpo pairwise, list listwise"):
        WeightedSum({"dpo": Dpo(), "list": Listwise()})


def test_reference_is_used_where_any_part_uses_it_and_given_to_that_part_only() -> None:
    seen: list[Likelihood | None] = []

    class Spy(Sft):
        def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
            seen.append(reference)
            return super().forward(policy, reference, batch)

    objective = WeightedSum({"dpo": Dpo(), "sft": Spy()})
    assert objective.uses_reference
    assert not WeightedSum({"simpo": SimPo(), "sft": Sft()}).uses_reference
    objective(*pairs())
    assert seen == [None]


def test_needs_and_roles_are_united() -> None:
    objective = WeightedSum({"kto": Kto(), "dpo": Dpo()})
    assert objective.extra_roles == ("mismatched",)
    assert objective.couples_batch
    assert objective.needs.no_grad_roles == {"mismatched"}
    assert not WeightedSum({"dpo": Dpo(), "sft": Sft()}).couples_batch
    assert WeightedSum({"dpo": Dpo()}).extra_roles == ()
    both = WeightedSum({"one": Listwise(), "two": Listwise()})
    assert both.needs == Needs(True, frozenset({"divergence"}), frozenset({"calibration"}))
    assert both.extra_roles == ("calibration",)


def test_a_role_that_one_part_learns_from_keeps_its_gradient() -> None:
    class Learns(Listwise):
        @property
        def needs(self) -> Needs:
            return Needs()

    assert WeightedSum({"one": Listwise(), "two": Learns()}).needs.no_grad_roles == frozenset()


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (WeightedSum({"dpo": Dpo(), "ipo": Ipo(0.1)}, {"dpo": 2.0, "ipo": 0.1}), 2 * LN2 + 2.5),
        (WeightedSum({"dpo": Dpo(), "sft": Sft()}), None),
        (WeightedSum({"inner": WeightedSum({"dpo": Dpo()}, {"dpo": 3.0})}, {"inner": 2.0}), 6 * LN2),
    ],
)
def test_start_loss(objective: Objective, expected: float | None) -> None:
    assert objective.start_loss == (pytest.approx(expected) if expected else None)


def test_state_of_parts_is_its_own_state() -> None:
    objective = WeightedSum({"bco": Bco(), "dpo": Dpo()})
    objective(*random_pairs(4))
    assert set(objective.state_dict()) == {"objectives.bco.shift.mean", "objectives.bco.shift.weight"}
    restored = WeightedSum({"dpo": Dpo(), "bco": Bco()})
    restored.load_state_dict(objective.state_dict())
    assert torch.equal(restored.parts["bco"].shift.mean, objective.parts["bco"].shift.mean)  # type: ignore[union-attr]
    objective.eval()
    assert not objective.parts["bco"].training


@pytest.mark.parametrize(
    ("parts", "weights", "message"),
    [
        ({}, None, "no objectives"),
        ({"dpo": Dpo()}, {"dpoo": 1.0}, r"'dpoo'.*\n.*did you mean 'dpo'"),
        ({"dpo": Dpo()}, {"dpo": -1.0}, r"weights.dpo is -1.0\.\n.*at least 0"),
        ({"dpo": Dpo()}, {"dpo": float("nan")}, r"weights.dpo is nan"),
        ({"a.b": Dpo()}, None, r"'a.b' cannot name a part"),
        ({"forward": Dpo()}, None, r"'forward' cannot name a part"),
        ({"": Dpo()}, None, r"'' cannot name a part"),
    ],
)
def test_what_makes_no_sense_is_refused(
    parts: dict[str, Objective], weights: dict[str, float] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        WeightedSum(parts, weights)
