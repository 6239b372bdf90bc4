"""KTO and BCO: published values, gradients, what counts as a label, state."""

import math
from dataclasses import replace

import pytest
import torch

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Metric, Objective
from modalign.core.objectives.pointwise import Bco, Kto
from tests.core.objectives.batches import LN2, assert_close, gradient, make_batch, pairs, random_pairs, tensor, thumbs

RATIOS = [0.6, -0.3, -0.1, -0.2]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mean(metric: Metric, weight: torch.Tensor) -> float:
    """What the logs show for one batch."""
    rows = weight if metric.where is None else weight * metric.where
    return float((metric.values * rows).sum() / rows.sum())


def test_kto_values() -> None:
    policy, reference, batch = thumbs()
    output = Kto(beta=0.1, desirable_weight=1.0, undesirable_weight=1.33)(policy, reference, batch)
    assert_close(output.terms[0].values, [0.488127232, 0.510623401, 0.657519066, 0.654194701], 2e-9)
    assert_close(output.loss(batch), 0.5776161, 2e-9)
    assert_close(output.metrics["kl"].values, [0.125] * 4)


def test_bco_values() -> None:
    policy, reference, batch = thumbs()
    output = Bco(beta=0.1)(policy, reference, batch)
    assert_close(output.terms[0].values, [0.663597113, 0.708259676, 0.688159681, 0.68319718], 2e-9)
    assert_close(output.loss(batch), 0.685803412, 2e-9)
    assert_close(output.metrics["delta"].values, [0.0] * 4)


def test_kto_gradient_is_the_closed_form_and_leaves_the_reference_point_alone() -> None:
    policy, reference, batch = thumbs()
    grad = gradient(Kto(0.1, 1.0, 1.33), policy, reference, batch)
    signs = [-1.0, -1.0, 1.33, 1.33]
    slopes = [0.1 * sigmoid(0.1 * (m - 0.125)) * sigmoid(-0.1 * (m - 0.125)) for m in RATIOS]
    expected = tensor([sign * slope / 4 for sign, slope in zip(signs, slopes, strict=True)])
    assert_close(grad, torch.stack([expected, torch.zeros(4, dtype=torch.float64)], dim=1))


def test_bco_gradient_is_the_closed_form_and_leaves_the_shift_alone() -> None:
    policy, reference, batch = thumbs()
    objective = Bco(beta=0.1)
    objective.shift.update(torch.tensor([0.5]), torch.tensor([1.0]))
    objective.eval()
    grad = gradient(objective, policy, reference, batch)
    rewards = [0.1 * m - 0.5 for m in RATIOS]
    slopes = [-0.1 * sigmoid(-r) for r in rewards[:2]] + [0.1 * sigmoid(r) for r in rewards[2:]]
    assert_close(grad[:, 0], tensor(slopes) / 4)
    assert_close(grad[:, 1], [0.0] * 4)


def test_bco_gradient_in_training_is_that_of_the_same_shift_fixed() -> None:
    policy, reference, batch = random_pairs(4)
    training = Bco().double()
    grad = gradient(training, policy, reference, batch)
    assert training.shift.mean.abs() > 1e-3
    assert torch.equal(grad, gradient(training.eval(), policy, reference, batch))


def test_kto_reference_point_is_never_negative() -> None:
    policy, reference, batch = thumbs()
    swapped = Kto()(Likelihood(reference.logps, policy.sizes), Likelihood(policy.logps, policy.sizes), batch)
    assert_close(swapped.metrics["kl"].values, [0.0] * 4)


def test_kto_reference_point_is_of_the_rows_that_have_a_mismatched_response() -> None:
    policy, reference, batch = thumbs()
    batch.mask[3, 1] = False
    assert_close(Kto()(policy, reference, batch).metrics["kl"].values, [(0.2 - 0.1 + 0.3) / 3] * 4)
    batch.weight = torch.tensor([1.0, 0.0, 2.0, 1.0])
    assert_close(Kto()(policy, reference, batch).metrics["kl"].values, [(0.2 + 2 * 0.3) / 3] * 4)


@pytest.mark.parametrize("build", [Kto, Bco])
def test_a_pair_is_a_desirable_and_an_undesirable_response(build: type[Objective]) -> None:
    """The mean over pairs equals the mean over the same responses given one by one."""
    policy, reference, batch = random_pairs(rows=5)
    together = gradient(build(), policy, reference, batch)
    columns = [[0, 2], [1, 2]]
    alone = replace_columns(policy, columns), replace_columns(reference, columns)
    sizes = alone[0].sizes
    scores = torch.cat([torch.ones(5), torch.zeros(5)])[:, None] * torch.tensor([[1.0, torch.nan]])
    separate = make_batch(("candidate", "mismatched"), sizes, scores=scores)
    loss = build()(*alone, separate).loss(separate)
    assert_close(loss, build()(policy, reference, batch).loss(batch))
    assert_close(torch.autograd.grad(loss, policy.logps)[0], together)


def replace_columns(likelihood: Likelihood, columns: list[list[int]]) -> Likelihood:
    return Likelihood(
        torch.cat([likelihood.logps[:, some] for some in columns]),
        torch.cat([likelihood.sizes[:, some] for some in columns]),
    )


def test_a_row_of_several_labelled_candidates_counts_once() -> None:
    sizes = torch.full((2, 3), 2.0)
    policy = Likelihood(tensor([[-1.0, -2.0, -3.0], [-1.5, 0.0, 0.0]]), sizes)
    reference = Likelihood(tensor([[-1.5, -1.0, -3.5], [-1.0, 0.0, 0.0]]), sizes)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    scores = torch.tensor([[1.0, 0.0, 1.0], [0.0, torch.nan, torch.nan]])
    batch = make_batch(("candidate",) * 3, sizes, mask, scores)
    objective = Bco(beta=1.0).eval()
    expected = [(-math.log(sigmoid(0.5)) * 2 - math.log(sigmoid(1.0))) / 3, -math.log(sigmoid(0.5))]
    assert_close(objective(policy, reference, batch).terms[0].values, expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Kto(), Kto(beta=0.2)),
        (Kto(), Kto(desirable_weight=1.5)),
        (Kto(), Kto(undesirable_weight=1.5)),
        (Bco(), Bco(beta=0.2)),
    ],
)
def test_every_option_changes_loss_and_gradient(one: Objective, other: Objective) -> None:
    policy, reference, batch = thumbs()
    losses = [objective(policy, reference, batch).loss(batch) for objective in (one, other)]
    gradients = [gradient(objective, policy, reference, batch) for objective in (one, other)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4


@pytest.mark.parametrize("build", [Kto, Bco])
def test_metrics_are_trls_means_over_each_label(build: type[Objective]) -> None:
    policy, reference, batch = thumbs()
    metrics = build()(policy, reference, batch).metrics
    shown = {name: mean(metric, batch.weight) for name, metric in metrics.items()}
    assert shown["rewards/chosen"] == pytest.approx((0.06 - 0.03) / 2)
    assert shown["rewards/rejected"] == pytest.approx((-0.01 - 0.02) / 2)
    assert shown["rewards/margins"] == pytest.approx(shown["rewards/chosen"] - shown["rewards/rejected"])
    assert shown["logps/chosen"] == pytest.approx((-2.0 - 2.1) / 2)
    assert shown["logps/rejected"] == pytest.approx((-1.5 - 3.4) / 2)
    assert not any(metric.values.requires_grad for metric in metrics.values())


def test_margins_of_unequal_numbers_and_weights() -> None:
    policy, reference, batch = thumbs()
    batch.scores[1, 0] = 0.0
    batch.weight = torch.tensor([2.0, 1.0, 0.0, 3.0])
    metrics = Bco()(policy, reference, batch).metrics
    shown = {name: mean(metric, batch.weight) for name, metric in metrics.items()}
    assert shown["rewards/chosen"] == pytest.approx(0.06)
    assert shown["rewards/rejected"] == pytest.approx((-0.03 + 3 * -0.02) / 4)
    assert shown["rewards/margins"] == pytest.approx(shown["rewards/chosen"] - shown["rewards/rejected"])


@pytest.mark.parametrize("column", [0, 1])
def test_margins_are_of_no_row_where_a_label_is_absent(column: int) -> None:
    policy, reference, batch = thumbs()
    batch.scores[:, 0] = float(column)
    where = Bco()(policy, reference, batch).metrics["rewards/margins"].where
    assert where is not None
    assert not where.any()


def test_metrics_of_pairs_are_per_row() -> None:
    policy, reference, batch = pairs()
    metrics = Bco(0.1)(policy, reference, batch).metrics
    assert_close(metrics["rewards/margins"].values, [0.07, -0.01, 0.24])


@pytest.mark.parametrize(
    ("score", "message"),
    [(3.5, r"rows 102 of the data have scores such as 3.5"), (math.nan, "rows 102 of the data have no label")],
)
@pytest.mark.parametrize("objective", [Kto(), Bco()])
def test_a_score_that_is_no_label_is_refused(objective: Objective, score: float, message: str) -> None:
    policy, reference, batch = thumbs()
    batch.scores[2, 0] = score
    with pytest.raises(ConfigError, match=message):
        objective(policy, reference, batch)


@pytest.mark.parametrize("objective", [Kto(), Bco()])
def test_a_row_without_a_label_is_refused(objective: Objective) -> None:
    policy, reference, batch = thumbs()
    batch.mask[1, 0] = False
    with pytest.raises(ConfigError, match="rows 101 of the data have no label"):
        objective(policy, reference, batch)


def test_kto_without_mismatched_responses_is_refused() -> None:
    policy, reference, batch = pairs()
    with pytest.raises(ConfigError, match=r"needs a 'mismatched' response.*chosen, rejected"):
        Kto()(policy, reference, batch)


@pytest.mark.parametrize(
    ("build", "option"), [(Kto, "beta"), (Kto, "desirable_weight"), (Kto, "undesirable_weight"), (Bco, "beta")]
)
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_options_out_of_range_are_refused(build: type[Objective], option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{option} is {value}\.\n.*above 0"):
        build(**{option: value})


@pytest.mark.parametrize(
    ("objective", "expected"),
    [(Kto(), 0.5), (Kto(0.2, 1.5, 1.5), 0.75), (Kto(0.1, 1.0, 1.33), None), (Bco(), LN2), (Bco(0.7), LN2)],
)
def test_start_loss(objective: Objective, expected: float | None) -> None:
    assert objective.start_loss == (pytest.approx(expected) if expected else None)
    _, reference, batch = thumbs()
    values = objective(reference, reference, batch).terms[0].values
    assert_close(values, [expected] * 4 if expected else [0.5, 0.5, 0.665, 0.665])


def test_kto_asks_for_mismatched_cells_without_gradient() -> None:
    assert Kto().extra_roles == ("mismatched",)
    assert Kto().needs.no_grad_roles == {"mismatched"}
    assert Kto.couples_batch
    assert Bco.couples_batch


def test_bco_shift_is_the_pooled_mean_so_far() -> None:
    """Three micro-batches of different sizes and weights, against the mean over all of them at once."""
    objective = Bco(beta=0.3)
    rewards, weights = [], []
    for rows, seed in ((4, 1), (1, 2), (7, 3)):
        policy, reference, batch = random_pairs(rows, seed, dtype=torch.float32)
        batch.weight = torch.arange(rows).float()
        delta = objective(policy, reference, batch).metrics["delta"].values[0]
        rewards.append(0.3 * (policy.logps - reference.logps)[:, :2].detach().mean(dim=1))
        weights.append(batch.weight)
        pooled = (torch.cat(rewards) * torch.cat(weights)).sum() / torch.cat(weights).sum().clamp(min=1e-9)
        assert_close(delta, pooled, 1e-6)


def test_bco_shift_moves_in_training_only() -> None:
    objective = Bco()
    policy, reference, batch = random_pairs(4)
    objective(policy, reference, batch)
    before = objective.shift.mean.clone()
    objective.eval()
    other = random_pairs(4, seed=9)
    delta = objective(*other).metrics["delta"].values
    assert torch.equal(objective.shift.mean, before)
    assert_close(delta, [float(before)] * 4)
    objective.train()
    objective(*other)
    assert not torch.equal(objective.shift.mean, before)


def test_bco_continues_from_its_state() -> None:
    objective = Bco()
    objective(*random_pairs(4, seed=1))
    restored = Bco()
    restored.load_state_dict(objective.state_dict())
    step = random_pairs(3, seed=2)
    assert torch.equal(objective(*step).terms[0].values, restored(*step).terms[0].values)
    assert not torch.equal(Bco()(*step).terms[0].values, restored(*step).terms[0].values)


def test_logged_shift_does_not_change_with_later_batches() -> None:
    objective = Bco()
    delta = objective(*random_pairs(4, seed=1)).metrics["delta"].values
    logged = delta.clone()
    objective(*random_pairs(4, seed=2))
    assert torch.equal(delta, logged)


def test_labels_do_not_leak_across_rows() -> None:
    policy, reference, batch = thumbs()
    kto = Kto(undesirable_weight=2.0)
    before = kto(policy, reference, batch).terms[0].values
    flipped = replace(batch, scores=batch.scores.clone())
    flipped.scores[0, 0] = 0.0
    after = kto(policy, reference, flipped).terms[0].values
    assert not torch.isclose(before[0], after[0])
    assert torch.equal(before[1:], after[1:])
