"""Comparing an objective with its formula, written down again a row at a time, in values and gradients."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.objectives.base import Objective
from tests.core.objectives.batches import random_pairs

Row = dict[str, Tensor]
"""By role (with `ref ` before it for the reference), a log-probability; `row` and extras by their names."""


def nls(x: Tensor) -> Tensor:
    """Minus the log of the sigmoid, written out."""
    return torch.log1p(torch.exp(-x))


def check_against(objective: Objective, formula: Callable[[Row], Tensor], rows: int = 6, seed: int = 1) -> None:
    """The loss of each row is the formula's, and so are the gradients in all that the policy is asked for."""
    policy, reference, batch = random_pairs(rows, seed, roles=("chosen", "rejected", *objective.extra_roles))
    extra = {name: values.clone().requires_grad_() for name, values in policy.extra.items()}
    policy = replace(policy, extra=extra)
    terms = objective(policy, reference, batch).terms
    assert all(term.per_role is None for term in terms)
    losses = torch.stack([term.coefficient * term.values for term in terms]).sum(0)
    expected = torch.stack([formula(_row(policy, reference, batch, number)) for number in range(rows)])
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    wanted = [policy.logps, *extra.values()]
    found, awaited = (torch.autograd.grad(each.sum(), wanted, allow_unused=True) for each in (losses, expected))
    for mine, theirs in zip(found, awaited, strict=True):
        mine, theirs = (torch.zeros(()) if grad is None else grad for grad in (mine, theirs))
        torch.testing.assert_close(mine.double().expand(rows, len(batch.roles)), theirs.double().expand_as(batch.mask))


def _row(policy: Likelihood, reference: Likelihood, batch: PreferenceBatch, number: int) -> Row:
    row: dict[str, Any] = {}
    for column, role in enumerate(batch.roles):
        row[role], row[f"ref {role}"] = policy.logps[number, column], reference.logps[number, column]
        sizes, scores = policy.sizes[number, column], batch.scores[number, column]
        row[f"size {role}"], row[f"score {role}"] = sizes.double(), scores.double()
        for name in policy.extra:
            row[f"{name} {role}"] = policy.extra[name][number, column]
            row[f"ref {name} {role}"] = reference.extra[name][number, column]
    return row
