import pytest
import torch

from modalign.core.objectives.running_mean import RunningMean
from tests.core.objectives.batches import assert_close


def test_mean_of_everything_by_weight() -> None:
    running = RunningMean()
    running.update(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 1.0]))
    assert_close(running.mean, 2.0)
    running.update(torch.tensor([8.0]), torch.tensor([2.0]))
    assert_close(running.mean, 4.0)
    assert_close(running.weight, 6.0)


def test_rows_without_weight_do_not_count() -> None:
    running = RunningMean()
    running.update(torch.tensor([7.0, 7.0]), torch.tensor([0.0, 0.0]))
    assert_close(running.mean, 0.0)
    running.update(torch.tensor([7.0, 3.0]), torch.tensor([0.0, 1.0]))
    assert_close(running.mean, 3.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_precision_run_leaves_it_exact(dtype: torch.dtype) -> None:
    running = RunningMean()
    for _ in range(3):
        running.update(torch.full((200,), 1.2345), torch.ones(200))
        running.to(dtype)
    assert running.mean.dtype is torch.float32
    assert_close(running.mean, 1.2345, 1e-6)
    assert_close(running.weight, 600.0)
    assert set(running.state_dict()) == {"mean", "weight"}


def test_double_precision_is_taken_on() -> None:
    running = RunningMean().double()
    running.update(torch.tensor([1 / 3], dtype=torch.float64), torch.ones(1))
    assert running.mean.item() == 1 / 3


def test_moves_with_its_module() -> None:
    assert RunningMean().to("meta").mean.device.type == "meta"
