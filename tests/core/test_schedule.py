"""Schedules against their closed forms."""

import math

import pytest
import torch

from modalign.core.errors import ConfigError
from modalign.core.schedule import Schedule


def test_linear_with_warmup() -> None:
    schedule = Schedule("linear", warmup_steps=10, final=0.1)
    assert [schedule.factor(step, 110) for step in (0, 5, 10, 60, 110)] == pytest.approx([0, 0.5, 1, 0.55, 0.1])


def test_cosine_with_ratio() -> None:
    schedule = Schedule("cosine", warmup_ratio=0.1)
    expected = [0, 1, 0.5 * (1 + math.cos(math.pi * 45 / 90)), 0]
    assert [schedule.factor(step, 100) for step in (0, 10, 55, 100)] == pytest.approx(expected)


def test_constant_needs_no_length() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = Schedule("constant", warmup_steps=2).build(optimizer, math.inf)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [0.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize(("shape", "ratio"), [("linear", 0.0), ("cosine", 0.0), ("constant", 0.1)])
def test_a_length_is_asked_for(shape: str, ratio: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    with pytest.raises(ConfigError, match="max_steps"):
        Schedule(shape, warmup_ratio=ratio).build(optimizer, math.inf)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"warmup_steps": 3, "warmup_ratio": 0.1}, {"warmup_steps": -1}, {"warmup_ratio": 1.5}, {"final": -0.1}],
)
def test_contradictions_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Schedule(**options)  # type: ignore[arg-type]
