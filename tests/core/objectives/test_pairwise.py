"""Losses of the margin: published values, closed-form gradients, options."""

import math

import pytest
import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Objective
from modalign.core.objectives.pairwise import Dpo, Hinge, Ipo, RobustDpo
from tests.core.objectives.batches import LN2, assert_close, gradient, pairs

MARGINS = [0.7, -0.1, 2.4]
MEAN_MARGINS = [0.6 / 3 + 0.1 / 2, -0.3 / 2 + 0.2 / 4, 0.8 / 3 + 1.6 / 2]

VECTORS: list[tuple[Objective, list[float], float]] = [
    (Dpo(beta=0.1), [0.658759556, 0.698159681, 0.580329967], 0.645749734),
    (Dpo(beta=0.5), [0.533382155, 0.718459648, 0.263282467], 0.505041424),
    (Dpo(beta=0.1, label_smoothing=0.1), [0.665759556, 0.697159681, 0.604329967], 0.655749734),
    (RobustDpo(beta=0.1, label_smoothing=0.1), [0.650009556, 0.699409681, 0.550329967], 0.633249734),
    (Ipo(beta=0.1, normalization="sum"), [18.49, 26.01, 6.76], 17.086666667),
    (Ipo(beta=0.1, normalization="mean"), [22.5625, 26.01, 15.471111111], 21.34787037),
    (Hinge(beta=0.1), [0.93, 1.01, 0.76], 0.9),
    (Hinge(beta=0.5), [0.65, 1.05, 0.0], 1.7 / 3),
]
IDS = [f"{type(objective).__name__}-{number}" for number, (objective, _, _) in enumerate(VECTORS)]


@pytest.mark.parametrize(("objective", "per_example", "mean"), VECTORS, ids=IDS)
def test_values(objective: Objective, per_example: list[float], mean: float) -> None:
    policy, reference, batch = pairs()
    output = objective(policy, reference, batch)
    assert_close(output.terms[0].values, per_example, 2e-9)
    assert_close(output.loss(batch), mean, 2e-9)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def dpo_slope(h: float) -> float:
    return -0.1 * sigmoid(-0.1 * h)


SLOPES = [
    (Dpo(0.1), [dpo_slope(h) for h in MARGINS]),
    (Dpo(0.1, 0.2), [0.8 * dpo_slope(h) - 0.2 * dpo_slope(-h) for h in MARGINS]),
    (RobustDpo(0.1, 0.2), [(0.8 * dpo_slope(h) + 0.2 * dpo_slope(-h)) / 0.6 for h in MARGINS]),
    (Ipo(0.1, "sum"), [2 * (h - 5) for h in MARGINS]),
    (Hinge(0.1), [-0.1, -0.1, -0.1]),
    (Hinge(0.5), [-0.5, -0.5, 0.0]),
]


@pytest.mark.parametrize(("objective", "slopes"), SLOPES, ids=[type(objective).__name__ for objective, _ in SLOPES])
def test_gradient_is_the_closed_form(objective: Objective, slopes: list[float]) -> None:
    policy, reference, batch = pairs()
    slope = torch.tensor(slopes, dtype=torch.float64) / 3
    assert_close(gradient(objective, policy, reference, batch), torch.stack([slope, -slope], dim=1))


def test_mean_ipo_gradient_is_divided_by_each_length() -> None:
    policy, reference, batch = pairs()
    slope = torch.tensor([2 * (h - 5) / 3 for h in MEAN_MARGINS], dtype=torch.float64)
    expected = torch.stack([slope, -slope], dim=1) / batch.sizes
    assert_close(gradient(Ipo(0.1, "mean"), policy, reference, batch), expected)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Dpo(0.3), LN2),
        (Dpo(0.3, 0.4), LN2),
        (RobustDpo(0.3, 0.4), LN2),
        (Ipo(0.1), 25.0),
        (Ipo(0.5, "sum"), 1.0),
        (Hinge(0.3), 1.0),
    ],
)
def test_start_loss_is_the_loss_where_policy_and_reference_agree(objective: Objective, expected: float) -> None:
    _, reference, batch = pairs()
    assert objective.start_loss == pytest.approx(expected, abs=1e-12)
    assert_close(objective(reference, reference, batch).terms[0].values, [expected] * 3)


OPTIONS = [
    (Dpo(0.1), Dpo(0.2)),
    (Dpo(0.1), Dpo(0.1, label_smoothing=0.1)),
    (RobustDpo(0.1, 0.1), RobustDpo(0.2, 0.1)),
    (RobustDpo(0.1, 0.1), RobustDpo(0.1, 0.2)),
    (Ipo(0.1), Ipo(0.2)),
    (Ipo(0.1, "mean"), Ipo(0.1, "sum")),
    (Hinge(0.1), Hinge(0.2)),
]


@pytest.mark.parametrize(("one", "other"), OPTIONS)
def test_every_option_changes_loss_and_gradient(one: Objective, other: Objective) -> None:
    policy, reference, batch = pairs()
    losses = [objective(policy, reference, batch).loss(batch) for objective in (one, other)]
    gradients = [gradient(objective, policy, reference, batch) for objective in (one, other)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4


def test_smoothed_dpo_is_least_at_a_finite_margin() -> None:
    objective = Dpo(beta=0.5, label_smoothing=0.2)
    optimum = math.log(0.8 / 0.2) / 0.5
    margins = torch.tensor([optimum - 0.1, optimum, optimum + 0.1], dtype=torch.float64)
    below, least, above = objective.loss(margins)
    assert least < below
    assert least < above


def test_robust_dpo_is_unbiased_under_flipped_labels() -> None:
    margins = torch.tensor([-3.0, 0.2, 5.0], dtype=torch.float64)
    robust = RobustDpo(0.7, 0.3)
    expected_under_flips = 0.7 * robust.loss(margins) + 0.3 * robust.loss(-margins)
    assert_close(expected_under_flips, Dpo(0.7).loss(margins))


def test_metrics_have_trl_names_and_unscaled_rewards() -> None:
    policy, reference, batch = pairs()
    metrics = Ipo(0.1, "mean")(policy, reference, batch).metrics
    assert_close(metrics["rewards/chosen"].values, [0.06, -0.03, 0.08])
    assert_close(metrics["rewards/rejected"].values, [-0.01, -0.02, -0.16])
    assert_close(metrics["rewards/margins"].values, [0.07, -0.01, 0.24])
    assert_close(metrics["rewards/accuracies"].values, [1.0, 0.0, 1.0])
    assert_close(metrics["logps/chosen"].values, [-2.0, -2.1, -1.5])
    assert_close(metrics["logps/rejected"].values, [-1.5, -3.4, -4.0])
    assert not any(metric.values.requires_grad for metric in metrics.values())


@pytest.mark.parametrize("build", [Dpo, RobustDpo, Ipo, Hinge])
@pytest.mark.parametrize("beta", [0, -0.1, math.nan, math.inf])
def test_beta_out_of_range_is_refused(build: type[Objective], beta: float) -> None:
    with pytest.raises(ConfigError, match=rf"beta is {beta}\.\n.*above 0"):
        build(beta=beta)


@pytest.mark.parametrize("build", [Dpo, RobustDpo])
@pytest.mark.parametrize("label_smoothing", [-0.1, 0.5, 1.0, math.nan])
def test_label_smoothing_out_of_range_is_refused(build: type[Objective], label_smoothing: float) -> None:
    with pytest.raises(ConfigError, match=rf"label_smoothing is {label_smoothing}\.\n.*below 0.5"):
        build(label_smoothing=label_smoothing)


def test_robust_dpo_without_smoothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"label_smoothing is 0.*\n.*or use dpo"):
        RobustDpo(label_smoothing=0.0)


def test_unknown_ipo_normalization_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"normalization is 'average'.*\n.*mean, sum"):
        Ipo(normalization="average")  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", [Dpo(), Dpo(label_smoothing=0.1), RobustDpo(), Ipo(), Hinge()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_margins_stay_finite(objective: Dpo, dtype: torch.dtype) -> None:
    margin: Tensor = torch.tensor([-1e4, 1e4], dtype=dtype, requires_grad=True)
    losses = objective.loss(margin)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(torch.autograd.grad(losses.sum(), margin)[0]).all()
