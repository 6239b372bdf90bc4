"""SimPO, ORPO and CPO: published values, closed-form gradients, options."""

import math
from decimal import Decimal, getcontext

import pytest
import torch

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Objective
from modalign.core.objectives.reference_free import Cpo, Orpo, SimPo, log_odds
from tests.core.objectives.batches import PAIR, assert_close, gradient, make_batch, pairs, tensor

NLL_TOKEN_MEAN = 0.7


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_simpo_values() -> None:
    policy, _, batch = pairs()
    output = SimPo(beta=2.0, gamma_beta_ratio=0.25)(policy, None, batch)
    assert_close(output.terms[0].values, [0.873638908, 1.241153875, 0.078889734], 2e-9)
    assert_close(output.loss(batch), 0.731227506, 2e-9)


def test_simpo_hinge_values() -> None:
    policy, _, batch = pairs()
    margins = [-2.0 / 3 + 1.5 / 2, -2.1 / 2 + 3.4 / 4, -1.5 / 3 + 4.0 / 2]
    output = SimPo(beta=2.0, gamma_beta_ratio=0.25, loss="hinge")(policy, None, batch)
    assert_close(output.terms[0].values, [max(0.0, 1.5 - 2 * margin) for margin in margins])


def test_orpo_values() -> None:
    policy, _, batch = pairs()
    output = Orpo(weight=0.1)(policy, None, batch)
    nll, odds = output.terms
    assert_close(odds.values, [0.614354898, 0.869900033, 0.096705864], 2e-9)
    assert_close(odds.values.mean(), 0.526986931, 2e-9)
    assert_close(nll.values, [2.0, 2.1, 1.5])
    assert_close(output.loss(batch), 0.752698693, 2e-9)


def test_cpo_values() -> None:
    policy, _, batch = pairs()
    output = Cpo(beta=0.1, alpha=1.0)(policy, None, batch)
    assert_close(output.terms[0].values + NLL_TOKEN_MEAN, [1.418459648, 1.330258195, 1.27593942], 2e-9)
    assert_close(output.loss(batch), 1.341552421, 2e-9)


def test_simpo_gradient_is_the_closed_form() -> None:
    policy, _, batch = pairs()
    margins = [-2.0 / 3 + 1.5 / 2, -2.1 / 2 + 3.4 / 4, -1.5 / 3 + 4.0 / 2]
    slope = tensor([-2 * sigmoid(-2 * (margin - 0.25)) / 3 for margin in margins])
    expected = torch.stack([slope, -slope], dim=1) / batch.sizes
    assert_close(gradient(SimPo(2.0, 0.25), policy, None, batch), expected)


def test_orpo_gradient_is_the_closed_form() -> None:
    """With odds = P / (1 - P), d logodds / d p = 1 / (1 - P)."""
    policy, _, batch = pairs()
    chosen, rejected = (policy.logps.detach() / batch.sizes).exp().unbind(dim=1)
    log_ratio = torch.log(chosen / (1 - chosen)) - torch.log(rejected / (1 - rejected))
    slope = -0.1 * torch.sigmoid(-log_ratio) / 3
    odds = torch.stack([slope / (1 - chosen), -slope / (1 - rejected)], dim=1) / batch.sizes
    nll = torch.tensor([[-1 / 8, 0.0]] * 3)
    assert_close(gradient(Orpo(0.1), policy, None, batch), odds + nll)


def test_cpo_gradient_is_the_closed_form() -> None:
    policy, _, batch = pairs()
    slope = tensor([-0.1 * sigmoid(-0.1 * margin) / 3 for margin in (-0.5, 1.3, 2.5)])
    expected = torch.stack([slope - 2.0 / 8, -slope], dim=1)
    assert_close(gradient(Cpo(0.1, alpha=2.0), policy, None, batch), expected)


OPTIONS = [
    (SimPo(), SimPo(beta=3.0)),
    (SimPo(), SimPo(gamma_beta_ratio=0.5)),
    (SimPo(), SimPo(label_smoothing=0.1)),
    (SimPo(), SimPo(loss="hinge")),
    (Orpo(), Orpo(weight=0.2)),
    (Orpo(), Orpo(nll_normalization="sequence")),
    (Orpo(), Orpo(nll_normalization="sum")),
    (Cpo(), Cpo(beta=0.2)),
    (Cpo(), Cpo(alpha=0.5)),
    (Cpo(), Cpo(label_smoothing=0.1)),
    (Cpo(), Cpo(nll_normalization="sequence")),
    (Cpo(), Cpo(nll_normalization="sum")),
]


@pytest.mark.parametrize(("one", "other"), OPTIONS)
def test_every_option_changes_loss_and_gradient(one: Objective, other: Objective) -> None:
    policy, _, batch = pairs()
    losses = [objective(policy, None, batch).loss(batch) for objective in (one, other)]
    gradients = [gradient(objective, policy, None, batch) for objective in (one, other)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4


def test_simpo_smoothing_mixes_the_two_labels() -> None:
    policy, _, batch = pairs()
    mean = policy.mean_logps
    logits = 2.0 * (mean[:, 0] - mean[:, 1] - 0.25)
    expected = -0.9 * torch.log(torch.sigmoid(logits)) - 0.1 * torch.log(torch.sigmoid(-logits))
    assert_close(SimPo(label_smoothing=0.1)(policy, None, batch).terms[0].values, expected)


@pytest.mark.parametrize("probability", ["1e-300", "1e-9", "0.3", "0.5", "0.9", "0.999999999"])
def test_log_odds_against_fifty_digits(probability: str) -> None:
    getcontext().prec = 50
    p = Decimal(probability)
    logp = tensor(float(p.ln()))
    assert_close(log_odds(logp), float((p / (1 - p)).ln()), 1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certainty_and_impossibility_stay_finite(dtype: torch.dtype) -> None:
    sizes = torch.ones(4, 2)
    logps = torch.tensor([[0.0, -1e4], [-1e4, 0.0], [0.0, 0.0], [-1e-12, -1e-12]], dtype=dtype, requires_grad=True)
    policy, batch = Likelihood(logps, sizes), make_batch(PAIR, sizes)
    for objective in (Orpo(), SimPo(), SimPo(loss="hinge"), Cpo()):
        output = objective(policy, None, batch)
        assert torch.isfinite(output.loss(batch))
        assert torch.isfinite(gradient(objective, policy, None, batch)).all()
        assert all(torch.isfinite(metric.values).all() for metric in output.metrics.values())


def test_metrics_have_trl_names() -> None:
    policy, _, batch = pairs()
    orpo = Orpo(weight=0.1)(policy, None, batch).metrics
    assert_close(orpo["nll_loss"].values, [2.0 / 3, 2.1 / 2, 1.5 / 3])
    assert_close(orpo["log_odds_ratio"].values, [-0.614354898, -0.869900033, -0.096705864], 2e-9)
    assert_close(orpo["rewards/chosen"].values, [-0.2 / 3, -0.21 / 2, -0.15 / 3])
    assert_close(torch.sigmoid(orpo["log_odds_chosen"].values).log(), orpo["log_odds_ratio"].values)
    cpo = Cpo(beta=0.1)(policy, None, batch).metrics
    assert_close(cpo["rewards/margins"].values, [-0.05, 0.13, 0.25])
    assert_close(cpo["nll_loss"].values, [2.0 / 3, 2.1 / 2, 1.5 / 3])
    simpo = SimPo(beta=2.0)(policy, None, batch).metrics
    assert_close(simpo["rewards/rejected"].values, [-1.5, -1.7, -4.0])
    assert not any(metric.values.requires_grad for metric in (orpo | cpo | simpo).values())


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (SimPo, {"beta": 0.0}, r"beta is 0.0\.\n.*above 0"),
        (SimPo, {"gamma_beta_ratio": -0.1}, r"gamma_beta_ratio is -0.1\.\n.*at least 0"),
        (SimPo, {"label_smoothing": 0.5}, r"label_smoothing is 0.5\.\n.*below 0.5"),
        (SimPo, {"loss": "hing"}, r"loss is 'hing'\.\n.*did you mean 'hinge'"),
        (SimPo, {"loss": "hinge", "label_smoothing": 0.1}, r"label_smoothing is 0.1.*hinge.*\n.*to sigmoid"),
        (Orpo, {"weight": 0.0}, r"weight is 0.0\.\n.*above 0"),
        (Orpo, {"nll_normalization": "mean"}, r"nll_normalization is 'mean'\.\n.*sequence, sum, token"),
        (Cpo, {"beta": math.inf}, r"beta is inf\.\n.*above 0"),
        (Cpo, {"alpha": -1.0}, r"alpha is -1.0\.\n.*at least 0"),
        (Cpo, {"label_smoothing": -0.1}, r"label_smoothing is -0.1\.\n.*below 0.5"),
        (Cpo, {"nll_normalization": "mean"}, r"nll_normalization is 'mean'\.\n.*sequence, sum, token"),
    ],
)
def test_options_out_of_range_are_refused(build: type[Objective], options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


@pytest.mark.parametrize("objective", [SimPo(), Orpo(), Cpo()])
def test_needs_no_reference(objective: Objective) -> None:
    assert not objective.uses_reference
    assert objective.start_loss is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_orpo_lowers_the_chosens_error_and_raises_the_rejecteds(dtype: torch.dtype) -> None:
    """Denoising errors, one unit a response: near certainty the log-odds are `-log(exp(e) - 1)`, whatever the sign."""
    errors = tensor([[0.0021, 0.0024], [0.0024, 0.0021], [0.2, 0.05]], dtype)
    policy = Likelihood(-errors.requires_grad_(), torch.ones(3, 2))
    batch = make_batch(PAIR, policy.sizes)
    output = Orpo(weight=0.1)(policy, None, batch)
    (slope,) = torch.autograd.grad(output.terms[1].values.sum(), errors)
    assert (slope[:, 0] > 0).all()
    assert (slope[:, 1] < 0).all()
    wide = errors.detach().double().requires_grad_()
    odds = -torch.log(torch.expm1(wide))
    ratio = -torch.log(torch.sigmoid(odds[:, 0] - odds[:, 1]))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close(output.terms[1].values, ratio, tolerance)
    assert_close(slope / torch.autograd.grad(ratio.sum(), wide)[0], torch.ones(3, 2), tolerance)
    assert_close(output.terms[0].values, errors[:, 0])
