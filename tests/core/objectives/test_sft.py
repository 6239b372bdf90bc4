import pytest
import torch

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Feedback, ObjectiveOutput
from modalign.core.objectives.sft import Sft
from tests.core.objectives.batches import assert_close, gradient, make_batch, pairs, tensor


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("token", (2.0 + 2.1 + 1.5) / (3 + 2 + 3)),
        ("sequence", (2.0 / 3 + 2.1 / 2 + 1.5 / 3) / 3),
        ("sum", (2.0 + 2.1 + 1.5) / 3),
    ],
)
def test_loss_is_the_mean_it_says(normalization: str, expected: float) -> None:
    policy, _, batch = pairs()
    assert_close(Sft(normalization)(policy, None, batch).loss(batch), expected)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [("token", [1 / 8, 1 / 8, 1 / 8]), ("sequence", [1 / 9, 1 / 6, 1 / 9]), ("sum", [1 / 3, 1 / 3, 1 / 3])],
)
def test_gradient_is_the_weight_of_a_token(normalization: str, expected: list[float]) -> None:
    policy, _, batch = pairs()
    grad = gradient(Sft(normalization), policy, None, batch)
    assert_close(grad, torch.stack([-tensor(expected), torch.zeros(3, dtype=torch.float64)], dim=1))


def test_rows_count_by_their_weight() -> None:
    policy, _, batch = pairs()
    batch.weight = torch.tensor([2.0, 0.0, 1.0])
    assert_close(Sft("token")(policy, None, batch).loss(batch), (2 * 2.0 + 1.5) / (2 * 3 + 3))
    assert_close(Sft("sequence")(policy, None, batch).loss(batch), (2 * 2.0 / 3 + 1.5 / 3) / 3)


def test_role_says_whom_to_imitate() -> None:
    policy, _, batch = pairs()
    output = Sft("sum", role="rejected")(policy, None, batch)
    assert_close(output.loss(batch), (1.5 + 3.4 + 4.0) / 3)
    assert_close(output.metrics["logps/rejected"].values, [-1.5, -3.4, -4.0])
    assert_close(Sft("token", role="rejected")(policy, None, batch).loss(batch), (1.5 + 3.4 + 4.0) / 8)


def test_demonstrations_need_no_rejected() -> None:
    sizes = torch.tensor([[4.0], [2.0]])
    policy = Likelihood(tensor([[-2.0], [-1.0]]), sizes)
    output: ObjectiveOutput = Sft()(policy, None, make_batch(("chosen",), sizes))
    assert_close(output.loss(make_batch(("chosen",), sizes)), 0.5)
    assert_close(output.metrics["logps/chosen"].values, [-2.0, -1.0])
    assert_close(output.metrics["nll_loss"].values, [0.5, 0.5])


def test_declares_what_it_uses() -> None:
    objective = Sft()
    assert objective.feedback is Feedback.DEMONSTRATION
    assert not objective.uses_reference
    assert objective.start_loss is None


def test_unknown_normalization_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"normalization is 'tokens'.*\n.*did you mean 'token'"):
        Sft("tokens")  # type: ignore[arg-type]


def test_a_role_that_no_data_has_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="did you mean 'rejected'"):
        Sft(role="rejectd")
