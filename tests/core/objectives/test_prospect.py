"""KTO's utilities and reference points: the released code of Diffusion-KTO in float64, classes, gradients, options."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.core.objectives.pointwise import Kto
from modalign.core.objectives.weighted_sum import WeightedSum
from tests.core.objectives.batches import assert_close, gradient, pairs, random_pairs, tensor, thumbs
from tests.core.objectives.test_objectives_over_ranks import SHARES, share

UTILITIES = ["kahneman_tversky", "loss_averse", "risk_seeking"]
POINTS = ["batch", "classes", "none"]
RATIOS = [0.6, -0.3, -0.1, -0.2]
"""Of the four labelled responses, the first two desirable; their mean is 0."""


def released(error: Tensor, reference_error: Tensor, label: Tensor, beta: float, utility: str) -> Tensor:
    """The loss of Diffusion-KTO's code, its names in brackets: plain float64, one process, both weights 1."""
    gain = -error - -reference_error
    gain = gain - gain.mean().clamp(min=0).detach()
    sign = 2 * label - 1
    signed = sign * beta * gain
    value = {
        "kahneman_tversky": torch.sigmoid(signed),  # [sigmoid]
        "loss_averse": torch.nn.functional.logsigmoid(signed),  # [loss_averse]
        "risk_seeking": -torch.nn.functional.logsigmoid(-signed),  # [risk_seeking_3]
    }[utility]
    return (1 - value).mean()


@pytest.mark.parametrize("utility", UTILITIES)
@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_loss_and_gradient_are_the_released_codes(utility: str, shift: float) -> None:
    policy, reference, batch = thumbs()
    errors = (-policy.logps.detach()[:, 0] - shift).requires_grad_()
    policy.logps = torch.stack([-errors.detach(), policy.logps.detach()[:, 1]], dim=1).requires_grad_()
    expected = released(errors, -reference.logps[:, 0], batch.scores[:, 0].double(), 1.7, utility)
    objective = Kto(1.7, utility=utility, reference_point="batch")  # type: ignore[arg-type]
    assert_close(objective(policy, reference, batch).loss(batch), expected, 1e-12)
    (slope,) = torch.autograd.grad(expected, errors)
    assert_close(gradient(objective, policy, reference, batch)[:, 0], -slope, 1e-12)


@pytest.mark.parametrize(
    ("kind", "scores", "expected"),
    [
        ("batch", [1.0, 1.0, 0.0, 0.0], 0.0),
        ("batch", [1.0, 0.0, 0.0, 0.0], 0.0),
        ("classes", [1.0, 1.0, 0.0, 0.0], 0.0),
        ("classes", [1.0, 0.0, 0.0, 0.0], (0.6 - 0.2) / 2),
        ("classes", [0.0, 1.0, 1.0, 1.0], (0.6 - 0.2) / 2),
        ("none", [1.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_reference_points_of_thumbs(kind: str, scores: list[float], expected: float) -> None:
    policy, reference, batch = thumbs()
    batch.scores[:, 0] = torch.tensor(scores)
    metrics = Kto(reference_point=kind)(policy, reference, batch).metrics  # type: ignore[arg-type]
    assert_close(metrics["kl"].values, [expected] * 4)


def test_reference_points_follow_weights() -> None:
    policy, reference, batch = thumbs()
    batch.weight = torch.tensor([3.0, 1.0, 0.0, 1.0])
    point = lambda kind: Kto(reference_point=kind)(policy, reference, batch).metrics["kl"].values  # noqa: E731
    assert_close(point("batch"), [(3 * 0.6 - 0.3 - 0.2) / 5] * 4)
    assert_close(point("classes"), [((3 * 0.6 - 0.3) / 4 - 0.2) / 2] * 4)


def test_a_class_that_is_absent_does_not_count() -> None:
    policy, reference, batch = thumbs()
    batch.scores[:, 0] = 1.0
    batch.weight = torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert_close(Kto(reference_point="classes")(policy, reference, batch).metrics["kl"].values, [0.1] * 4)
    batch.weight = torch.zeros(4)
    assert_close(Kto(reference_point="classes")(policy, reference, batch).metrics["kl"].values, [0.0] * 4)


def test_reference_points_of_pairs() -> None:
    """Log-ratios 0.6, -0.3, 0.8 of the chosen and -0.1, -0.2, -1.6 of the rejected."""
    policy, reference, batch = pairs()
    policy.logps = (policy.logps + 0.5).detach().requires_grad_()
    mean = (1.1 / 3 - 1.9 / 3) / 2 + 0.5
    for kind in ("batch", "classes"):
        assert_close(Kto(reference_point=kind)(policy, reference, batch).metrics["kl"].values, [mean] * 3)  # type: ignore[arg-type]


def points_of(rows: list[int]) -> Tensor:
    return torch.stack([Kto(reference_point=kind)(*share(rows)).metrics["kl"].values for kind in POINTS])  # type: ignore[arg-type]


def work(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(points_of(SHARES[rank]), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_are_one(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(work, (str(tmp_path),), nprocs=2, start_method="fork")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    whole = points_of([0, 1, 2, 3, 4])
    assert (whole[:2] > 0).all()
    assert_close(torch.cat(ranks, dim=1), whole, 1e-6)


@pytest.mark.parametrize("utility", UTILITIES)
@pytest.mark.parametrize("kind", [*POINTS, "mismatched"])
def test_gradient_check(utility: str, kind: str) -> None:
    """Good responses are pulled up and bad ones down; the reference point itself gets no gradient."""
    policy, reference, batch = random_pairs(3, seed=3)
    objective = Kto(0.7, utility=utility, reference_point=kind)  # type: ignore[arg-type]
    grad = gradient(objective, policy, reference, batch)
    assert (grad[:, 0] < 0).all()
    assert (grad[:, 1] > 0).all()
    assert torch.equal(grad[:, 2], torch.zeros(3).double())
    point = objective(policy, reference, batch).metrics["kl"].values[0]
    gains = 0.7 * (policy.logps - reference.logps - point)
    value = {
        "kahneman_tversky": torch.sigmoid,
        "loss_averse": lambda x: torch.log(torch.sigmoid(x)),
        "risk_seeking": lambda x: -torch.log(torch.sigmoid(-x)),
    }[utility]
    loss = (1 - value(gains[:, 0]) + 1 - value(-gains[:, 1])).sum() / 6
    assert_close(grad, torch.autograd.grad(loss, policy.logps)[0], 1e-12)


@pytest.mark.parametrize(
    ("utility", "expected"),
    [("kahneman_tversky", 0.75), ("loss_averse", 1.5 * (1 + math.log(2))), ("risk_seeking", 1.5 * (1 - math.log(2)))],
)
@pytest.mark.parametrize("kind", [*POINTS, "mismatched"])
def test_start_loss(utility: str, expected: float, kind: str) -> None:
    objective = Kto(0.2, 1.5, 1.5, utility, kind)  # type: ignore[arg-type]
    assert objective.start_loss == pytest.approx(expected)
    _, reference, batch = thumbs()
    assert_close(objective(reference, reference, batch).terms[0].values, [expected] * 4)
    assert Kto(0.2, 1.5, 1.0, utility, kind).start_loss is None  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", POINTS)
def test_only_mismatched_asks_for_more_cells(kind: str) -> None:
    """Pairs without mismatched cells will do, and a sum asks for what its own KTO wants."""
    objective = Kto(reference_point=kind)  # type: ignore[arg-type]
    assert objective.extra_roles == ()
    assert objective.needs.no_grad_roles == frozenset()
    assert objective.couples_batch == (kind != "none")
    assert WeightedSum({"kto": objective}).extra_roles == ()
    policy, reference, batch = pairs()
    assert torch.isfinite(objective(policy, reference, batch).loss(batch))
    assert Kto().extra_roles == ("mismatched",)


def test_without_a_reference_point_rows_do_not_depend_on_each_other() -> None:
    policy, reference, batch = thumbs()
    losses = Kto(reference_point="none")(policy, reference, batch).terms[0].values
    assert_close(losses, [1 / (1 + math.exp(0.1 * r)) for r in RATIOS[:2]] + [
        1 / (1 + math.exp(-0.1 * r)) for r in RATIOS[2:]
    ])  # fmt: skip


@pytest.mark.parametrize("utility", UTILITIES)
def test_extremes_stay_finite(utility: str) -> None:
    policy, reference, batch = thumbs(torch.float32)
    policy.logps = (
        policy.logps.detach() + tensor([[1e5, 0], [-1e5, 0], [1e5, 0], [-1e5, 0]], torch.float32)
    ).requires_grad_()
    objective = Kto(1.0, utility=utility, reference_point="none")  # type: ignore[arg-type]
    assert torch.isfinite(objective(policy, reference, batch).loss(batch))
    assert torch.isfinite(gradient(objective, policy, reference, batch)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"utility": "loss_avers"}, r"utility is 'loss_avers'\.\n.*did you mean 'loss_averse'"),
        ({"reference_point": "mean"}, r"reference_point is 'mean'\.\n.*batch, classes, mismatched, none"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Kto(**options)  # type: ignore[arg-type]
