"""Every family: log-probabilities and gradients are those of its own forward over the processor's own output."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.core.batch import CHOSEN
from modalign.core.objectives.base import Needs
from modalign.modalities.vision_language.likelihood import media_text_likelihood
from tests.modalities.vision_language.cells import Row, batch_of


def logps_of(model: Any, rows: list[Row], chunk_size: int = 512) -> Tensor:
    """`(N,)` sums for rows that are a batch of one column."""
    return media_text_likelihood(model, batch_of([{CHOSEN: row} for row in rows]), Needs(), chunk_size).logps[:, 0]


@pytest.fixture
def direct(model_of: Callable[[str], Any], rows_of: Callable[[str], list[Row]]) -> Callable[[str], Tensor]:
    def sums(family: str) -> Tensor:
        return torch.stack([row.direct_logps(model_of(family)).sum() for row in rows_of(family)])

    return sums


def test_log_probabilities_are_those_of_each_row_alone(
    family: str, model_of: Callable[[str], Any], rows_of: Callable[[str], list[Row]], direct: Callable[[str], Tensor]
) -> None:
    """Whatever stands beside a row: rows of other lengths, with other images, with more of them or with none."""
    model, rows = model_of(family), rows_of(family)
    with torch.no_grad():
        expected = direct(family)
        together = logps_of(model, rows)
        turned = logps_of(model, rows[::-1], chunk_size=3).flip(0)
        alone = torch.cat([logps_of(model, [row]) for row in rows])
    for found in (together, turned, alone):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    assert expected[0] != expected[1]


def test_gradients_are_those_of_each_row_alone(
    family: str, model_of: Callable[[str], Any], rows_of: Callable[[str], list[Row]], direct: Callable[[str], Tensor]
) -> None:
    """With respect to every weight, the vision tower's among them."""
    model, rows = model_of(family), rows_of(family)
    weights = torch.tensor([1.0, -2.0, 0.5, 1.5, -1.0])[: len(rows)]
    (direct(family) * weights).sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    (logps_of(model, rows) * weights).sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.isfinite().all()
        torch.testing.assert_close(found[name], gradient, atol=2e-4 * max(1.0, float(gradient.abs().max())), rtol=1e-3)
    tower = [g for name, g in found.items() if any(part in name for part in ("vision", "visual"))]
    assert len(tower) > 10
    assert all(g.abs().max() > 0 for g in tower if g.dim() > 1)
