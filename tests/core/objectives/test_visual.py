"""rDPO and mDPO: transcriptions, and what the pair of images does."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.visual import MDpo, RdpoVisual
from tests.core.objectives.batches import LN2, assert_close, gradient, make_batch, random_pairs
from tests.core.objectives.transcriptions import Row, check_against, nls

ROLES = ("chosen", "rejected", "chosen@other_image")


def margins(row: Row, context: str = "other_image") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`D(w | I)`, `D(l | I)`, `D(w | I')`."""
    there = f"chosen@{context}"
    chosen, rejected = row["chosen"] - row["ref chosen"], row["rejected"] - row["ref rejected"]
    return chosen, rejected, row[there] - row[f"ref {there}"]


@pytest.mark.parametrize(("beta", "weight"), [(0.1, 1.0), (0.4, 0.3)])
def test_rdpo_is_the_papers(beta: float, weight: float) -> None:
    def formula(row: Row) -> torch.Tensor:
        w, l, other = margins(row)  # noqa: E741
        return nls(beta * (w - l)) + weight * nls(beta * w - beta * other)

    check_against(RdpoVisual(beta, weight), formula)


@pytest.mark.parametrize(("anchor", "context"), [(0.0, "other_image"), (-0.7, "other_prompt")])
def test_mdpo_is_the_papers(anchor: float, context: str) -> None:
    def formula(row: Row) -> torch.Tensor:
        w, l, other = margins(row, context)  # noqa: E741
        return nls(0.2 * (w - l)) + nls(0.2 * (w - other)) + nls(0.2 * w - anchor)

    check_against(MDpo(0.2, anchor=anchor, contrast=context), formula)


def test_gradient_in_the_other_image_is_the_closed_form() -> None:
    policy, reference, batch = random_pairs(4, roles=ROLES)
    ratios = (policy.logps - reference.logps).detach()
    slopes = 0.1 * torch.sigmoid(-0.1 * (ratios[:, 0] - ratios[:, 2]))
    assert_close(gradient(RdpoVisual(), policy, reference, batch)[:, 2], slopes / 4)


@pytest.mark.parametrize("objective", [RdpoVisual(), MDpo()])
def test_the_pair_of_images_has_no_gradient_where_they_are_the_same(objective: Objective) -> None:
    """Chosen under both images is one number of one model: what it gains here, it loses there."""
    sizes = torch.ones(3, 3)
    weights = torch.tensor([0.3, -1.0], dtype=torch.float64, requires_grad=True)

    def logps(seed: int) -> torch.Tensor:
        inputs = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        pair = (inputs * weights).sum(-1)
        return torch.cat([pair, pair[:, :1]], 1)

    policy, reference = Likelihood(logps(0), sizes), Likelihood(logps(1).detach(), sizes)
    batch = make_batch(ROLES, sizes)
    terms = objective(policy, reference, batch).terms
    assert_close(terms[1].values, torch.full((3,), LN2))
    (grad,) = torch.autograd.grad(terms[1].values.sum(), weights, retain_graph=True)
    assert torch.equal(grad, torch.zeros(2).double())
    (plain,) = torch.autograd.grad(terms[0].values.sum(), weights)
    assert plain.abs().min() > 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), beta=st.floats(0.01, 2), weight=st.floats(0.01, 5))
def test_rdpo_is_dpo_of_responses_and_of_images(seed: int, beta: float, weight: float) -> None:
    policy, reference, batch = random_pairs(3, seed, roles=ROLES)
    images = [Likelihood(one.logps[:, [0, 2]], one.sizes[:, [0, 2]]) for one in (policy, reference)]
    pair = make_batch(("chosen", "rejected"), images[0].sizes)
    apart = Dpo(beta)(policy, reference, batch).loss(batch) + weight * Dpo(beta)(*images, pair).loss(pair)
    assert_close(RdpoVisual(beta, weight)(policy, reference, batch).loss(batch), apart)


def test_metrics_tell_of_each_pair() -> None:
    sizes = torch.ones(2, 3)
    policy = Likelihood(torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -2.0, -0.5]]), sizes)
    reference = Likelihood(torch.full((2, 3), -2.0), sizes)
    metrics = MDpo(0.5, anchor=0.2)(policy, reference, make_batch(ROLES, sizes)).metrics
    assert metrics["rewards/margins"].values.tolist() == [0.5, 0.5]
    assert metrics["rewards/image_margins"].values.tolist() == [1.0, -0.25]
    assert metrics["rewards/image_accuracies"].values.tolist() == [1.0, 0.0]
    assert metrics["rewards/anchor_accuracies"].values.tolist() == [1.0, 1.0]
    assert metrics["logps/chosen@other_image"].values.tolist() == [-3.0, -0.5]
    names = RdpoVisual(contrast="other_prompt")(
        policy, reference, make_batch((*ROLES[:2], "chosen@other_prompt"), sizes)
    )
    assert "rewards/prompt_margins" in names.metrics


@pytest.mark.parametrize(
    ("objective", "expected"),
    [(RdpoVisual(0.3, 0.5), 1.5 * LN2), (MDpo(), 3 * LN2), (MDpo(anchor=0.4), 2 * LN2 + math.log1p(math.exp(0.4)))],
)
def test_loss_at_the_start(objective: Objective, expected: float) -> None:
    policy, _, batch = random_pairs(3, roles=ROLES)
    assert objective.start_loss == pytest.approx(expected, rel=1e-12)
    same = Likelihood(policy.logps.detach(), policy.sizes)
    assert_close(objective(policy, same, batch).loss(batch), expected)


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (lambda: RdpoVisual(0), "beta"),
        (lambda: RdpoVisual(image_weight=0.0), "image_weight"),
        (lambda: MDpo(anchor=math.inf), "anchor"),
    ],
)
def test_options_out_of_range_are_refused(build: type, option: str) -> None:
    with pytest.raises(ConfigError, match=f"The objective's {option} is"):
        build()


def test_rows_without_the_cell_are_named() -> None:
    policy, reference, batch = random_pairs(3, roles=ROLES)
    batch.mask[1, 2] = False
    with pytest.raises(ConfigError, match=r"'chosen@other_image' response in every row; lacking in rows 101"):
        RdpoVisual()(policy, reference, batch)
