"""What holds for every objective: precision, shapes, absent cells, order of rows, finite extremes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Feedback, Objective, ObjectiveOutput
from tests.core.objectives.batches import (
    TRIPLE,
    all_objectives,
    as_lists,
    gradient,
    make_batch,
    random_rows,
    roles_of,
    run,
)

NAMES = list(all_objectives())
PAIRWISE = [name for name, one in all_objectives().items() if one.feedback == Feedback.PAIRWISE]
every_objective = pytest.mark.parametrize("name", NAMES)


def select(likelihood: Likelihood, rows: torch.Tensor) -> Likelihood:
    extra = {name: values[rows] for name, values in likelihood.extra.items()}
    return Likelihood(likelihood.logps[rows], likelihood.sizes[rows], extra=extra)


def reorder(batch: PreferenceBatch, rows: torch.Tensor) -> PreferenceBatch:
    names = ("scores", "sizes", "mask", "weight", "index")
    return replace(batch, **{name: getattr(batch, name)[rows] for name in names})


@every_objective
def test_double_in_double_out(name: str) -> None:
    policy, reference, batch = random_rows(name, 3)
    output = run(all_objectives()[name], policy, reference, batch)
    assert {term.values.dtype for term in output.terms} == {torch.float64}


@every_objective
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_anything_narrower_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    policy, reference, batch = random_rows(name, 3, dtype=dtype)
    output = run(all_objectives()[name], policy, reference, batch)
    assert {term.values.dtype for term in output.terms} == {torch.float32}
    wide = [
        replace(one, logps=one.logps.detach().double(), extra={k: v.double() for k, v in one.extra.items()})
        for one in (policy, reference)
    ]
    exact = run(all_objectives()[name], *wide, batch)
    for term, expected in zip(output.terms, exact.terms, strict=True):
        torch.testing.assert_close(term.values.double(), expected.values, rtol=2e-6, atol=2e-6)


@every_objective
def test_a_loss_and_a_metric_for_each_row(name: str) -> None:
    """B = 7 and K <= 6 differ, so that a broadcast over the wrong dimension shows."""
    policy, reference, batch = random_rows(name, 7, spare=("spare",))
    output = run(all_objectives()[name], policy, reference, batch)
    for term in output.terms:
        assert term.values.shape == (7,)
    for metric in output.metrics.values():
        assert metric.values.shape == (7,)
        assert metric.where is None or metric.where.shape == (7,)
        assert not metric.values.requires_grad


@every_objective
def test_cells_of_other_roles_and_absent_cells_change_nothing(name: str) -> None:
    policy, reference, batch = random_rows(name, 5, spare=("spare",))
    before = run(all_objectives()[name], policy, reference, batch)
    logps = policy.logps.detach().clone()
    logps[:, -1] = -1e6
    batch.mask[:, -1] = False
    changed = replace(policy, logps=logps.requires_grad_())
    after = run(all_objectives()[name], changed, reference, batch)
    assert torch.equal(before.loss(batch), after.loss(batch))
    assert torch.equal(gradient(all_objectives()[name], changed, reference, batch)[:, -1], torch.zeros(5).double())


@every_objective
def test_rows_without_weight_get_no_gradient(name: str) -> None:
    policy, reference, batch = random_rows(name, 4)
    batch.weight = torch.tensor([1.0, 0.0, 2.0, 1.0])
    grad = gradient(all_objectives()[name], policy, reference, batch)
    assert not grad[1].any()
    without = torch.tensor([0, 2, 3])
    alone = select(policy, without), select(reference, without), reorder(batch, without)
    output = run(all_objectives()[name], *alone)
    whole = run(all_objectives()[name], policy, reference, batch)
    torch.testing.assert_close(output.loss(alone[2]), whole.loss(batch))


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("column", [0, 1])
def test_a_row_that_lacks_a_side_is_refused_by_number(name: str, column: int) -> None:
    policy, reference, batch = random_rows(name, 4)
    batch.mask[2, column] = False
    with pytest.raises(ConfigError, match=rf"{TRIPLE[column]}.* in every row; lacking in rows 102 of"):
        run(all_objectives()[name], policy, reference, batch)


@pytest.mark.parametrize("name", [*PAIRWISE, "sft"])
def test_data_without_the_role_is_refused_by_name(name: str) -> None:
    sizes = torch.ones(2, 1)
    one = Likelihood(-sizes, sizes)
    with pytest.raises(ConfigError, match=r"'chosen' response a row, and rows 100, 101 have none.*candidate"):
        run(all_objectives()[name], one, one, make_batch(("candidate",), sizes))


@pytest.mark.parametrize("name", PAIRWISE)
def test_several_rejected_are_refused(name: str) -> None:
    policy, reference, batch = random_rows(name, 8, roles=("chosen", "rejected", "rejected"))
    with pytest.raises(ConfigError, match=r"'rejected' .* rows 100, 101, 102, 103, 104 and 3 more have several"):
        run(all_objectives()[name], policy, reference, batch)


@pytest.mark.parametrize("name", [name for name, one in all_objectives().items() if one.uses_reference])
def test_a_missing_reference_is_refused(name: str) -> None:
    policy, _, batch = random_rows(name, 2)
    with pytest.raises(ConfigError, match="the run has none"):
        all_objectives()[name](policy, None, batch)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sft"])
def test_swapping_the_sides_flips_the_gradient(name: str) -> None:
    """The preference part pulls the first column up where it is chosen, down where it is rejected."""
    policy, reference, batch = random_rows(name, 6)
    objective = all_objectives()[name]
    nll = torch.zeros(2, 6, dtype=torch.float64)
    if name in ("orpo", "cpo", "sum"):
        share = {"orpo": 1.0, "cpo": 1.0, "sum": 0.5}[name]
        nll = torch.stack([-share * (batch.weight / batch.sizes[:, column].sum()).double() for column in (0, 1)])
    if name == "mapo":
        nll = -1 / batch.sizes[:, :2].T.double() / len(batch)
    swapped = replace(batch, roles=("rejected", "chosen", *batch.roles[2:]))
    if name == "rankdpo":
        swapped = replace(batch, scores=1 - batch.scores)
    grad = gradient(objective, policy, reference, batch)
    flipped = gradient(all_objectives()[name], policy, reference, swapped)
    assert (grad[:, 0] - nll[0] < 0).all()
    assert (grad[:, 1] > 0).all()
    assert (flipped[:, 0] > 0).all()
    assert (flipped[:, 1] - nll[1] < 0).all()


@every_objective
def test_gradient_check(name: str) -> None:
    """Against finite differences, in all cells but those that count without gradient."""
    policy, reference, batch = random_rows(name, 3, seed=3)
    objective = all_objectives()[name].eval()
    free = torch.tensor([role in objective.needs.no_grad_roles for role in batch.roles])

    def loss(logps: torch.Tensor) -> torch.Tensor:
        whole = replace(policy, logps=torch.where(free, policy.logps.detach(), logps))
        return run(objective, whole, reference, batch).loss(batch)

    assert torch.autograd.gradcheck(loss, policy.logps.detach().clone().requires_grad_())


@every_objective
def test_reference_gets_no_gradient(name: str) -> None:
    policy, reference, batch = random_rows(name, 3)
    reference.logps.requires_grad_()
    loss = run(all_objectives()[name], policy, reference, batch).loss(batch)
    assert torch.autograd.grad(loss, reference.logps, allow_unused=True)[0] is None


@every_objective
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_stay_finite(name: str, dtype: torch.dtype) -> None:
    rows = [[-1e4, 0.0, -5.0], [0.0, -1e4, -5.0], [0.0, 0.0, 0.0], [-1e4, -1e4, -1e4], [-1e5, -1e-6, 0.0]]
    roles = roles_of(name)
    logps = torch.tensor(rows, dtype=dtype).repeat(1, 2)[:, : len(roles)]
    sizes = torch.ones(5, len(roles))
    extra = {"corrected_logps": logps, "corrected_sizes": sizes, "misled_logps": logps.flip(1)}
    policy = Likelihood(logps.clone().requires_grad_(), sizes, extra=extra)
    reference = Likelihood(logps.flip(0), sizes, extra={name: values.flip(0) for name, values in extra.items()})
    batch = make_batch(roles, sizes, scores=logps.float())
    batch = as_lists(batch) if name == "rankdpo" else batch
    output: ObjectiveOutput = run(all_objectives()[name], policy, reference, batch)
    assert all(torch.isfinite(term.values).all() for term in output.terms)
    assert all(torch.isfinite(metric.values).all() for metric in output.metrics.values())
    assert torch.isfinite(gradient(all_objectives()[name], policy, reference, batch)).all()


@every_objective
@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), seed=st.integers(0, 2**16))
def test_order_of_rows_changes_nothing(name: str, order: list[int], seed: int) -> None:
    policy, reference, batch = random_rows(name, 6, seed)
    rows = torch.tensor(order)
    one = run(all_objectives()[name], policy, reference, batch)
    other = run(all_objectives()[name], select(policy, rows), select(reference, rows), reorder(batch, rows))
    for term, permuted in zip(one.terms, other.terms, strict=True):
        torch.testing.assert_close(term.values[rows], permuted.values)
    for metric, values in one.metrics.items():
        torch.testing.assert_close(values.values[rows], other.metrics[metric].values)


@every_objective
@settings(max_examples=10, deadline=None)
@given(rows=st.integers(1, 5), spare=st.integers(0, 3), seed=st.integers(0, 2**16))
def test_more_columns_change_nothing(name: str, rows: int, spare: int, seed: int) -> None:
    policy, reference, batch = random_rows(name, rows, seed)
    pad = lambda values, fill: torch.cat([values, torch.full((rows, spare), fill, dtype=values.dtype)], 1)  # noqa: E731
    wide = [
        Likelihood(pad(one.logps, 0.0), pad(one.sizes, 0.0), extra={k: pad(v, 0.0) for k, v in one.extra.items()})
        for one in (policy, reference)
    ]
    wider = replace(
        batch,
        roles=(*batch.roles, *["spare"] * spare),
        scores=pad(batch.scores, torch.nan),
        sizes=pad(batch.sizes, 0.0),
        mask=pad(batch.mask, False),
    )
    expected = run(all_objectives()[name], policy, reference, batch).loss(batch)
    torch.testing.assert_close(run(all_objectives()[name], *wide, wider).loss(wider), expected)


@pytest.mark.parametrize("name", [name for name, one in all_objectives().items() if not one.couples_batch])
def test_micro_batches_give_the_loss_of_the_whole(name: str) -> None:
    """Split losses over the whole's totals add up: no row's values depend on the others."""
    policy, reference, batch = random_rows(name, 5)
    objective: Objective = all_objectives()[name]
    whole = run(objective, policy, reference, batch)
    parts = []
    for rows in (torch.tensor([0, 1, 2]), torch.tensor([3, 4])):
        parts.append(run(objective, select(policy, rows), select(reference, rows), reorder(batch, rows)))
    for number, term in enumerate(whole.terms):
        torch.testing.assert_close(torch.cat([part.terms[number].values for part in parts]), term.values)
