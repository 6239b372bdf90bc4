"""MaPO: the bounded score against ninety digits, the authors' formula, closed-form gradients, options."""

import math
from decimal import Decimal, getcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.mapo import MaPo, bounded_score
from tests.core.objectives.batches import PAIR, assert_close, gradient, make_batch, pairs, tensor

ERRORS = [[0.0021, 0.0024], [0.05, 0.04], [0.2, 0.31], [1.5, 0.9]]


def exact(z: float) -> float:
    """`z / (exp(z) - 1) - 1` in ninety digits."""
    getcontext().prec = 90
    wide = Decimal(z)
    return float(wide / (wide.exp() - 1) - 1) if z else 0.0


def exact_slope(z: float) -> float:
    """Its derivative in ninety digits."""
    getcontext().prec = 90
    wide = Decimal(z)
    power = wide.exp()
    return float((power - 1 - wide * power) / (power - 1) ** 2) if z else -0.5


def images(errors: list[list[float]], dtype: torch.dtype = torch.float64) -> Likelihood:
    """Minus these errors, as an image model's likelihood has them: one unit a response."""
    logps = -tensor(errors, dtype)
    return Likelihood(logps.requires_grad_(), torch.ones(logps.shape))


def authors(errors: Tensor, beta: float = 0.1, snr_value: float = 0.5, timesteps: int = 1000) -> Tensor:
    """The released code's loss, in plain float64."""
    chosen, rejected = errors.double().unbind(dim=1)
    win = snr_value * chosen / (torch.exp(snr_value * chosen) - 1)
    lose = snr_value * rejected / (torch.exp(snr_value * rejected) - 1)
    ratio = -torch.log(1 + torch.exp(-(win - lose) * timesteps))
    return chosen.mean() - beta * ratio.mean()


POINTS = [0.0, 1e-30, 1e-12, 1e-6, 1e-3, 0.0499, 0.05, 0.0501, 0.3, 1.0, 7.0, 40.0, 300.0]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", POINTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-14), (torch.float32, 1e-5)])
def test_score_and_slope_against_ninety_digits(size: float, sign: int, dtype: torch.dtype, tolerance: float) -> None:
    z = torch.tensor(sign * size, dtype=dtype, requires_grad=True)
    score = bounded_score(z)
    (slope,) = torch.autograd.grad(score, z)
    assert score.item() == pytest.approx(exact(z.item()), rel=tolerance)
    assert slope.item() == pytest.approx(exact_slope(z.item()), rel=10 * tolerance, abs=1e-40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_score_stays_finite_at_both_ends(dtype: torch.dtype) -> None:
    z = torch.tensor([-1e30, -1e4, 1e4, 1e30], dtype=dtype, requires_grad=True)
    score = bounded_score(z)
    (slope,) = torch.autograd.grad(score.sum(), z)
    assert_close(score / torch.tensor([1e30, 1e4, 1, 1]), [1.0, (1e4 - 1) / 1e4, -1.0, -1.0], 1e-6)
    assert_close(slope, [-1.0, -1.0, 0.0, 0.0])


@given(st.floats(0, 5), st.floats(0, 5))
def test_a_smaller_error_never_scores_less(one: float, other: float) -> None:
    scores = bounded_score(torch.tensor([min(one, other), max(one, other)]))
    assert scores[0] >= scores[1]
    assert ((scores >= -1) & (scores <= 0)).all()


def test_loss_is_the_authors() -> None:
    policy, batch = images(ERRORS), make_batch(PAIR, torch.ones(4, 2))
    assert_close(MaPo()(policy, None, batch).loss(batch), authors(tensor(ERRORS)), 1e-12)
    other = MaPo(beta=0.3, error_scale=0.8, margin_scale=250)
    assert_close(other(policy, None, batch).loss(batch), authors(tensor(ERRORS), 0.3, 0.8, 250), 1e-12)


def test_gradient_is_the_authors() -> None:
    policy, batch = images(ERRORS), make_batch(PAIR, torch.ones(4, 2))
    errors = tensor(ERRORS).requires_grad_()
    (expected,) = torch.autograd.grad(authors(errors), errors)
    assert_close(gradient(MaPo(), policy, None, batch), -expected, 1e-9)


def test_small_errors_keep_their_margin_in_float32() -> None:
    """Where `exp(z) - 1` in float32 makes noise of it: errors of 0.002 that differ by 1e-6."""
    rows = [[0.002, 0.002 + step * 1e-6] for step in range(1, 6)]
    single, batch = images(rows, torch.float32), make_batch(PAIR, torch.ones(5, 2))
    held = -single.logps.detach().double()
    margins = MaPo()(single, None, batch).metrics["rewards/margins"].values
    expected = [1000 * (exact(0.5 * chosen) - exact(0.5 * rejected)) for chosen, rejected in held.tolist()]
    assert_close(margins / tensor(expected), [1.0] * 5, 1e-3)
    naive = -0.5 * single.logps.detach()
    naive = 1000 * (naive / (torch.exp(naive) - 1))
    assert ((naive[:, 0] - naive[:, 1]) / tensor(expected) - 1).abs().max() > 1


def test_text_counts_the_mean_error_of_a_token() -> None:
    policy, _, batch = pairs()
    output = MaPo(margin_scale=2.0)(policy, None, batch)
    errors = [[2.0 / 3, 1.5 / 2], [2.1 / 2, 3.4 / 4], [1.5 / 3, 4.0 / 2]]
    assert_close(output.loss(batch), authors(tensor(errors), timesteps=2), 1e-12)
    assert_close(output.metrics["nll_loss"].values, [chosen for chosen, _ in errors])
    scores = [[2 * exact(0.5 * error) for error in row] for row in errors]
    assert_close(output.metrics["rewards/chosen"].values, [row[0] for row in scores])
    assert_close(output.metrics["rewards/margins"].values, [row[0] - row[1] for row in scores])
    assert_close(output.metrics["rewards/accuracies"].values, [1.0, 0.0, 1.0])
    assert not any(metric.values.requires_grad for metric in output.metrics.values())


@pytest.mark.parametrize("other", [MaPo(beta=0.2), MaPo(error_scale=0.6), MaPo(margin_scale=800)])
def test_every_option_changes_loss_and_gradient(other: MaPo) -> None:
    policy, batch = images(ERRORS[:1]), make_batch(PAIR, torch.ones(1, 2))
    losses = [objective(policy, None, batch).loss(batch) for objective in (MaPo(), other)]
    gradients = [gradient(objective, policy, None, batch) for objective in (MaPo(), other)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4


@pytest.mark.parametrize("option", ["beta", "error_scale", "margin_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{option} is {value}\.\n.*above 0"):
        MaPo(**{option: value})


def test_needs_no_reference() -> None:
    assert not MaPo.uses_reference
    assert MaPo().start_loss is None
