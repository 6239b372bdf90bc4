"""What an objective is: from likelihoods to a loss per comparison."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import torch
from torch import Tensor, nn

from modalign.core.batch import CHOSEN, REJECTED, Comparison, Likelihood, PreferenceBatch


class Feedback(StrEnum):
    """What data must say for an objective to be computable."""

    PAIRWISE = "pairwise"
    POINTWISE = "pointwise"
    LISTWISE = "listwise"
    DEMONSTRATION = "demonstration"


@dataclass(frozen=True)
class Needs:
    """What an objective asks of a likelihood beyond `logps` and `sizes`; nobody pays for what nobody uses.

    Attributes:
        token_logps: Per-unit log-probabilities.
        extra: Names of other quantities, such as "divergence"; a modality refuses names it does not know.
        no_grad_roles: Roles whose cells are wanted without gradient.
    """

    token_logps: bool = False
    extra: frozenset[str] = frozenset()
    no_grad_roles: frozenset[str] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.token_logps or other.token_logps,
            self.extra | other.extra,
            self.no_grad_roles & other.no_grad_roles,
        )


@dataclass(frozen=True)
class Term:
    """A part of the loss: `coefficient * sum(weight * values) / total`.

    The total runs over the whole optimiser step (all micro-batches and ranks): the sum of weights where `per_role` is
    None (a mean over comparisons), else the sum of weight times size of that role's cells (a mean over units, such as
    the token mean of a negative log-likelihood, whose `values` are sums over units).

    Attributes:
        values: `(B,)`.
        per_role: Whose units the mean is over; None for a mean over comparisons.
        coefficient: Factor on the whole term.
    """

    values: Tensor
    per_role: str | None = None
    coefficient: float = 1.0

    def totals(self, batch: PreferenceBatch) -> tuple[Tensor, Tensor]:
        """The batch's own `sum(weight * values)` and total."""
        units = torch.ones_like(batch.weight)
        if self.per_role is not None:
            columns = [column for column, role in enumerate(batch.roles) if role == self.per_role]
            units = batch.sizes[:, columns].sum(1)
        return (batch.weight * self.values).sum(), (batch.weight * units).sum()


@dataclass(frozen=True)
class Metric:
    """A mean for the logs.

    Attributes:
        values: `(B,)`.
        where: `(B,)` bool, the rows that count; None for all. Rows of weight 0 never count.
    """

    values: Tensor
    where: Tensor | None = None


@dataclass(frozen=True)
class ObjectiveOutput:
    """What an objective makes of one batch.

    Attributes:
        terms: The loss is their sum.
        metrics: Detached quantities for the logs, under TRL's names where TRL has one.
    """

    terms: tuple[Term, ...]
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def loss(self, batch: PreferenceBatch) -> Tensor:
        """The loss of this batch alone."""
        totals = [(term.coefficient, *term.totals(batch)) for term in self.terms]
        return torch.stack([coefficient * values / total for coefficient, values, total in totals]).sum()

    def detach(self) -> "ObjectiveOutput":
        return replace(self, terms=tuple(replace(term, values=term.values.detach()) for term in self.terms))


class Objective(nn.Module, ABC):
    """A preference-optimisation loss: numbers in, numbers out. It knows no tokens and no pixels.

    State that must survive a restart (a running mean, say) goes into buffers. The attributes belong to the class, but a
    combination of objectives sets its own.

    Attributes:
        feedback: What the data must say.
        uses_reference: Whether a reference likelihood is part of the formula.
        extra_roles: Cells wanted beside the data's own; the data module makes `mismatched` ones.
        reads: The roles it looks at; cells of others are left out of its batches. None for all roles.
        couples_batch: Whether a row's loss depends on the other rows of its micro-batch (KTO's reference point). Such
            a loss is reduced over ranks, but changes with the size of the micro-batch.
    """

    feedback: Feedback
    uses_reference: bool = True
    extra_roles: tuple[str, ...] = ()
    reads: frozenset[str] | None = None
    couples_batch: bool = False

    @property
    def needs(self) -> Needs:
        """What the likelihoods must hold beyond `logps` and `sizes`."""
        return Needs()

    @property
    def start_loss(self) -> float | None:
        """Every comparison's loss while policy and reference are equal (ln 2 for DPO); None where it is not fixed."""
        return None

    def check_comparison(self, comparison: Comparison) -> None:
        """Refuse a row that lacks what the formula reads beside responses, such as their scores; before training.

        Raises:
            RowError: Naming what is missing.
        """
        return

    @abstractmethod
    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        """The loss of each comparison.

        Args:
            policy: With gradient.
            reference: Without; None exactly where `uses_reference` is False.
            batch: Roles, scores, sizes and weights.
        """


def pair(values: Tensor, batch: PreferenceBatch) -> tuple[Tensor, Tensor]:
    """The `(B,)` columns of the chosen and the rejected from `(B, K)`."""
    return values[:, batch.column(CHOSEN)], values[:, batch.column(REJECTED)]


def pair_metrics(rewards: Tensor, policy: Likelihood, batch: PreferenceBatch) -> dict[str, Metric]:
    """TRL's metrics of a pairwise objective.

    Args:
        rewards: `(B, K)` implicit rewards, such as beta times the log-ratio.
        policy: For `logps/...`.
        batch: Which columns are chosen and rejected.
    """
    chosen, rejected = pair(rewards.detach(), batch)
    chosen_logps, rejected_logps = pair(policy.logps.detach(), batch)
    return {
        "rewards/chosen": Metric(chosen),
        "rewards/rejected": Metric(rejected),
        "rewards/accuracies": Metric((chosen > rejected).float()),
        "rewards/margins": Metric(chosen - rejected),
        "logps/chosen": Metric(chosen_logps),
        "logps/rejected": Metric(rejected_logps),
    }


def margin_metrics(name: str, margins: Tensor) -> dict[str, Metric]:
    """How large the `(B,)` margins of a comparison beside that of chosen and rejected are, and how many positive."""
    margins = margins.detach()
    return {
        f"rewards/{name}_margins": Metric(margins),
        f"rewards/{name}_accuracies": Metric((margins > 0).float()),
    }


def distributed_sums(values: Tensor, weight: Tensor) -> Tensor:
    """`(2,)`: the weighted sum of `(B,)` values and the sum of weights, over the batch and all ranks; no gradient."""
    sums = torch.stack([(values * weight).sum(), weight.sum().to(values.dtype)]).detach()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums)
    return sums


def distributed_mean(values: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of `(B,)` values over the batch and all ranks; 0 where nothing counts; no gradient."""
    total, count = distributed_sums(values, weight).unbind()
    return total / count.clamp(min=torch.finfo(count.dtype).tiny)
