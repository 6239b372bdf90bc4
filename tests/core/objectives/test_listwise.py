"""RankDPO: against a plain transcription of the paper's formula, and what lists may look like."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.pairwise import Dpo
from tests.core.objectives.batches import PAIR, assert_close, gradient, make_batch, pairs, tensor

POLICY = [[-0.021, -0.034, -0.018, -0.052], [-0.4, -0.1, -0.3, -0.2], [-0.5, -0.25, -0.125, 0.0]]
REFERENCE = [[-0.025, -0.03, -0.02, -0.04], [-0.2, -0.3, -0.1, -0.25], [-0.25, -0.5, -0.5, 0.0]]
SHARES = [[0.9, 0.1, 0.6, 0.4], [0.0, 0.5, 0.5, 1.0], [0.25, 1.0, 0.75, math.nan]]
MASK = [[True] * 4, [True] * 4, [True, True, True, False]]


def transcription(
    gains: list[float], policy: list[float], reference: list[float], beta: float, discount: bool = True
) -> float:
    """A list's loss in plain floats: errors, ranks and a sum over ordered pairs, as the paper writes them."""
    shift = [-new + old for new, old in zip(policy, reference, strict=True)]
    ranks = [1 + sum(other > own for other in gains) + (sum(other == own for other in gains) - 1) / 2 for own in gains]
    total = 0.0
    for i, own in enumerate(gains):
        for j, other in enumerate(gains):
            if own > other:
                delta = abs(2**own - 2**other)
                if discount:
                    delta *= abs(1 / math.log(1 + ranks[i]) - 1 / math.log(1 + ranks[j]))
                total -= delta * math.log(1 / (1 + math.exp(beta * (shift[i] - shift[j]))))
    return total


def lists() -> tuple[Likelihood, Likelihood, PreferenceBatch]:
    mask = torch.tensor(MASK)
    batch = make_batch(("candidate",) * 4, mask.float(), mask, torch.tensor(SHARES))
    return (
        Likelihood(tensor(POLICY).requires_grad_(), mask.float()),
        Likelihood(tensor(REFERENCE), mask.float()),
        batch,
    )


def rows() -> list[tuple[list[float], list[float], list[float]]]:
    """Gains, policy and reference of each list, without its absent cells."""
    kept = [[k for k in range(4) if there[k]] for there in MASK]
    return [
        tuple([[float(torch.tensor(one[b][k])) for k in kept[b]] for one in (SHARES, POLICY, REFERENCE)])  # type: ignore[misc]
        for b in range(3)
    ]


def borda(gains: list[float]) -> list[float]:
    return [sum(own > other for other in gains) / (len(gains) - 1) for own in gains]


@pytest.mark.parametrize("discount", [True, False])
@pytest.mark.parametrize("gain", ["rank", "score"])
def test_values_are_the_formulas(gain: str, discount: bool) -> None:
    policy, reference, batch = lists()
    output = RankDpo(beta=50.0, gain=gain, discount=discount)(policy, reference, batch)  # type: ignore[arg-type]
    expected = [
        transcription(borda(gains) if gain == "rank" else gains, new, old, 50.0, discount) for gains, new, old in rows()
    ]
    assert_close(output.terms[0].values, expected, 1e-6)
    assert_close(output.loss(batch), sum(expected) / 3, 1e-6)


def test_gradient_is_the_formulas() -> None:
    policy, reference, batch = lists()
    grad = gradient(RankDpo(beta=50.0), policy, reference, batch)
    step = 1e-6
    for b, (gains, new, old) in enumerate(rows()):
        for k in range(len(new)):
            moved = [
                transcription(borda(gains), [*new[:k], new[k] + move, *new[k + 1 :]], old, 50.0)
                for move in (step, -step)
            ]
            assert grad[b, k].item() == pytest.approx((moved[0] - moved[1]) / (2 * step) / 3, rel=1e-5, abs=1e-9)
    assert grad[2, 3] == 0


def test_a_list_of_two_is_a_weighted_pair() -> None:
    """Gains 1 and 0 weigh 1, ranks 1 and 2 weigh 1 / ln 2 - 1 / ln 3."""
    policy, reference, batch = pairs()
    scores = torch.tensor([[7.0, 3.0]] * 3)
    listed = replace(batch, roles=("candidate", "candidate"), scores=scores)
    weight = 1 / math.log(2) - 1 / math.log(3)
    expected = Dpo()(policy, reference, batch).terms[0].values
    assert_close(RankDpo()(policy, reference, listed).terms[0].values, weight * expected)
    assert_close(RankDpo(discount=False)(policy, reference, listed).terms[0].values, expected)


def test_equal_scores_say_nothing() -> None:
    policy, reference, batch = lists()
    batch.scores = torch.full_like(batch.scores, 0.5)
    output = RankDpo()(policy, reference, batch)
    assert_close(output.terms[0].values, [0.0] * 3)
    assert not output.metrics["rewards/accuracies"].where.any()  # type: ignore[union-attr]
    assert not output.metrics["rewards/margins"].where.any()  # type: ignore[union-attr]
    assert_close(gradient(RankDpo(), policy, reference, batch), torch.zeros(3, 4))


def test_weights_do_not_depend_on_the_policy() -> None:
    """At equal log-ratios the loss is ln 2 times the sum of the weights, whatever the log-ratios are."""
    _, reference, batch = lists()
    shifted = Likelihood(reference.logps - 3.0, reference.sizes)
    same = RankDpo()(reference, reference, batch).terms[0].values
    assert_close(RankDpo()(shifted, reference, batch).terms[0].values, same)


@given(st.permutations(range(4)), st.sampled_from(["rank", "score"]))
@settings(deadline=None)
def test_order_in_the_list_changes_nothing(order: list[int], gain: str) -> None:
    policy, reference, batch = lists()
    objective = RankDpo(beta=50.0, gain=gain)  # type: ignore[arg-type]
    pick = lambda one: Likelihood(one.logps[:, order], one.sizes[:, order])  # noqa: E731
    mixed = replace(batch, **{name: getattr(batch, name)[:, order] for name in ("scores", "sizes", "mask")})
    before, after = objective(policy, reference, batch), objective(pick(policy), pick(reference), mixed)
    assert_close(after.terms[0].values, before.terms[0].values, 1e-12)
    for name, metric in before.metrics.items():
        assert_close(after.metrics[name].values, metric.values, 1e-12)


@given(st.integers(0, 4), st.floats(-1e6, 1e6))
@settings(deadline=None)
def test_padding_changes_nothing(extra: int, junk: float) -> None:
    """Absent cells count for nothing, whatever stands in them."""
    policy, reference, batch = lists()
    pad = lambda values, fill: torch.cat([values, torch.full((3, extra), fill, dtype=values.dtype)], 1)  # noqa: E731
    wide = [Likelihood(pad(one.logps, junk), pad(one.sizes, 0.0)) for one in (policy, reference)]
    padded = replace(
        batch,
        roles=("candidate",) * (4 + extra),
        scores=pad(batch.scores, junk),
        sizes=pad(batch.sizes, 0.0),
        mask=pad(batch.mask, False),
    )
    before, after = RankDpo()(policy, reference, batch), RankDpo()(*wide, padded)
    assert_close(after.terms[0].values, before.terms[0].values, 1e-12)
    for name, metric in before.metrics.items():
        assert_close(after.metrics[name].values, metric.values, 1e-12)


def test_metrics_are_means_of_a_lists_pairs_and_responses() -> None:
    policy, reference, batch = lists()
    metrics = RankDpo(beta=2.0)(policy, reference, batch).metrics
    ratios = [0.25 * -1, 0.25, 0.375]
    assert metrics["rewards/candidate"].values[2].item() == pytest.approx(2 * sum(ratios) / 3)
    assert metrics["logps/candidate"].values[2].item() == pytest.approx(-0.875 / 3)
    # Ranked second, third, first: of the three ordered pairs, the best two are the wrong way round.
    assert metrics["rewards/accuracies"].values[2].item() == pytest.approx(2 / 3)
    margins = [ratios[1] - ratios[2], ratios[1] - ratios[0], ratios[2] - ratios[0]]
    assert metrics["rewards/margins"].values[2].item() == pytest.approx(2 * sum(margins) / 3)
    assert not any(metric.values.requires_grad for metric in metrics.values())


@pytest.mark.parametrize(
    ("objective", "score", "message"),
    [
        (RankDpo(gain="score"), 1.5, r"from 0 to 1; rows 101 of the data have scores such as 1.5\.\n.*gain: rank"),
        (RankDpo(gain="score"), -0.5, r"from 0 to 1; rows 101 of the data have scores such as -0.5"),
        (RankDpo(), math.nan, r"each with a score; rows 101 of the data have none.\n.*pairs: none"),
        (RankDpo(), math.inf, r"each with a score; rows 101"),
    ],
)
def test_unusable_scores_are_refused(objective: RankDpo, score: float, message: str) -> None:
    policy, reference, batch = lists()
    batch.scores[1, 2] = score
    with pytest.raises(ConfigError, match=message):
        objective(policy, reference, batch)


def test_a_list_of_one_is_refused() -> None:
    policy, reference, batch = lists()
    batch.mask[0, 1:] = False
    with pytest.raises(ConfigError, match=r"at least two responses.* rows 100 of"):
        RankDpo()(policy, reference, batch)


def test_pairs_are_refused() -> None:
    policy, reference, batch = pairs()
    assert batch.roles == PAIR
    with pytest.raises(ConfigError, match=r"at least two responses.* rows 100, 101, 102 of"):
        RankDpo()(policy, reference, batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beta": 0.0}, r"beta is 0.0\.\n.*above 0"), ({"gain": "rang"}, r"gain is 'rang'\.\n.*did you mean 'rank'")],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RankDpo(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [RankDpo(0.2), RankDpo(gain="score"), RankDpo(discount=False)])
def test_every_option_changes_loss_and_gradient(other: RankDpo) -> None:
    policy, reference, batch = lists()
    losses = [objective(policy, reference, batch).loss(batch) for objective in (RankDpo(), other)]
    gradients = [gradient(objective, policy, reference, batch) for objective in (RankDpo(), other)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4
