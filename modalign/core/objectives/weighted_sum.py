"""A weighted sum of objectives, such as DPO with a likelihood term."""

from dataclasses import replace
from functools import reduce
from typing import cast

from torch import nn

from modalign.core.batch import Comparison, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError, did_you_mean
from modalign.core.objectives.base import Feedback, Metric, Needs, Objective, ObjectiveOutput, Term
from modalign.core.objectives.options import not_negative

_SAID_BY_PAIRS = frozenset({Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION})
"""A pair holds a response to imitate, and a good and a bad one."""


class WeightedSum(Objective):
    """A weighted sum of objectives: `L = sum of weights[name] * L_name`.

    All parts see the same rows and the same likelihoods; each keeps its own normalisation. Where two parts log the same
    metric, the first keeps the name and a later one logs `part/metric`.

    Args:
        objectives: The parts by name, at least one. Names are free: letters, digits and underscores.
        weights: Each part's factor, at least 0; 1 for a part that is not named.
    """

    def __init__(self, objectives: dict[str, Objective], weights: dict[str, float] | None = None) -> None:
        super().__init__()
        _check_names(objectives, weights or {})
        self.weights = {name: not_negative(f"weights.{name}", (weights or {}).get(name, 1.0)) for name in objectives}
        self.objectives = nn.ModuleDict(objectives)
        self.feedback = _common_feedback(objectives)
        self.uses_reference = any(objective.uses_reference for objective in objectives.values())
        self.couples_batch = any(objective.couples_batch for objective in objectives.values())
        reads = [objective.reads for objective in objectives.values()]
        self.reads = None if None in reads else frozenset().union(*(some for some in reads if some))
        roles = (role for objective in objectives.values() for role in objective.extra_roles)
        self.extra_roles = tuple(dict.fromkeys(roles))

    @property
    def parts(self) -> dict[str, Objective]:
        """The objectives by name."""
        return cast("dict[str, Objective]", dict(self.objectives.items()))

    @property
    def needs(self) -> Needs:
        parts = self.parts.values()
        # Only the parts that asked for an extra role read it, so the others have no say in its gradient.
        without_gradient = frozenset(
            role
            for role in self.extra_roles
            if all(role in part.needs.no_grad_roles for part in parts if role in part.extra_roles)
        )
        united = reduce(Needs.__or__, (part.needs for part in parts))
        return replace(united, no_grad_roles=united.no_grad_roles | without_gradient)

    @property
    def start_loss(self) -> float | None:
        total = 0.0
        for name, part in self.parts.items():
            loss = part.start_loss
            if loss is None:
                return None
            total += self.weights[name] * loss
        return total

    def check_comparison(self, comparison: Comparison) -> None:
        for part in self.parts.values():
            part.check_comparison(comparison)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        terms: list[Term] = []
        metrics: dict[str, Metric] = {}
        for name, part in self.parts.items():
            output = part(policy, reference if part.uses_reference else None, batch)
            terms += (replace(term, coefficient=self.weights[name] * term.coefficient) for term in output.terms)
            for metric, value in output.metrics.items():
                metrics[f"{name}/{metric}" if metric in metrics else metric] = value
        return ObjectiveOutput(tuple(terms), metrics)


def _check_names(objectives: dict[str, Objective], weights: dict[str, float]) -> None:
    if not objectives:
        raise ConfigError("The sum has no objectives.", "Give at least one, such as objectives: {dpo: dpo, sft: sft}.")
    for name in objectives:
        if not name.isidentifier() or hasattr(nn.ModuleDict, name):
            raise ConfigError(
                f"{name!r} cannot name a part of the sum.", "Use letters, digits and underscores, such as 'dpo'."
            )
    for name in weights:
        if name not in objectives:
            raise ConfigError(f"weights names {name!r}, which is not in the sum.", did_you_mean(name, objectives))


def _common_feedback(objectives: dict[str, Objective]) -> Feedback:
    """What the data must say for all parts to be computable."""
    wanted = {objective.feedback for objective in objectives.values()}
    if len(wanted) == 1:
        return wanted.pop()
    if wanted <= _SAID_BY_PAIRS:
        return Feedback.PAIRWISE
    asked = ", ".join(f"{name} {objective.feedback}" for name, objective in objectives.items())
    raise ConfigError(
        f"The parts of the sum learn from data of different kinds, which no row has together ({asked}).",
        "Sum objectives of one kind; pairs also serve pointwise objectives and demonstrations.",
    )
