"""Means over unequal batches are the means over all rows."""

import torch

from modalign.core.callbacks.meter import Meter
from modalign.core.objectives.base import Metric


def test_weighted_means_over_unequal_batches() -> None:
    meter = Meter()
    meter.add({"a": Metric(torch.tensor([1.0, 2.0, 3.0]))}, torch.tensor([1.0, 1.0, 2.0]))
    meter.add({"a": Metric(torch.tensor([10.0]))}, torch.tensor([1.0]))
    assert meter.means() == {"a": (1 + 2 + 2 * 3 + 10) / 5}
    assert meter.means() == {}


def test_rows_that_do_not_count() -> None:
    meter = Meter()
    values = torch.tensor([1.0, float("nan"), 5.0])
    where = torch.tensor([True, False, True])
    meter.add(
        {"a": Metric(values, where), "b": Metric(values, torch.zeros(3, dtype=torch.bool))},
        torch.tensor([1.0, 1.0, 0.0]),
    )
    assert meter.means() == {"a": 1.0}


def test_state_goes_on() -> None:
    meter, resumed = Meter(), Meter()
    meter.add({"a": Metric(torch.tensor([2.0]))}, torch.ones(1))
    resumed.load_state_dict(meter.state_dict())
    resumed.add({"a": Metric(torch.tensor([4.0]))}, torch.ones(1))
    assert resumed.means() == {"a": 3.0}
