"""Supervised fine-tuning: the negative log-likelihood of a response, alone or as a companion of another loss."""

from typing import Literal, get_args

from modalign.core.batch import CANDIDATE, CHOSEN, REJECTED, Likelihood, PreferenceBatch
from modalign.core.objectives.base import Feedback, Metric, Objective, ObjectiveOutput, Term
from modalign.core.objectives.cells import full_precision, require_cells
from modalign.core.objectives.options import one_of

Normalization = Literal["token", "sequence", "sum"]
"""What a negative log-likelihood is averaged over. The published methods differ here, and their coefficients with them:

- `token`: the mean over all tokens of the optimiser step, so long responses count more (TRL, CPO, ORPO).
- `sequence`: the mean over each response's tokens, then over responses (Iterative RPO, 2404.19733).
- `sum`: the sum over each response's tokens, then the mean over responses (RPO, 2405.16436, Eq. 4.8).
"""


def normalization_option(option: str, value: str) -> str:
    """`value`, if it is a `Normalization`.

    Raises:
        ConfigError: It is not.
    """
    return one_of(option, value, get_args(Normalization))


def nll_term(
    policy: Likelihood, batch: PreferenceBatch, normalization: str, role: str = CHOSEN, coefficient: float = 1.0
) -> Term:
    """The negative log-likelihood of one role's cells, `-log pi(y | x)`, as a term of a loss.

    Args:
        policy: Whose likelihood.
        batch: Every row must have the role.
        normalization: One of `Normalization`.
        role: Whose cells.
        coefficient: Factor on the term.
    """
    column = batch.column(role)
    nll = -full_precision(policy.logps[:, column])
    if normalization == "token":
        return Term(nll, per_role=role, coefficient=coefficient)
    if normalization == "sequence":
        nll = nll / policy.sizes[:, column].clamp(min=1)
    return Term(nll, coefficient=coefficient)


def nll_metric(policy: Likelihood, batch: PreferenceBatch, role: str = CHOSEN) -> Metric:
    """The negative log-likelihood per token, averaged over each response's tokens whatever the loss averages over."""
    return Metric(-full_precision(policy.mean_logps[:, batch.column(role)]).detach())


class Sft(Objective):
    """Maximum likelihood of the chosen response: `L = -log pi(y_w | x)`, the prompt not counted.

    Args:
        normalization: What the mean is over: all tokens (`token`), each response's tokens and then responses
            (`sequence`), or responses only (`sum`).
        role: Which response to imitate.
    """

    feedback = Feedback.DEMONSTRATION
    uses_reference = False

    def __init__(self, normalization: Normalization = "token", role: str = CHOSEN) -> None:
        super().__init__()
        self.normalization = normalization_option("normalization", normalization)
        self.role = one_of("role", role, (CHOSEN, REJECTED, CANDIDATE))
        self.reads = frozenset({role})

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, self.role)
        logps = full_precision(policy.logps[:, batch.column(self.role)]).detach()
        metrics = {f"logps/{self.role}": Metric(logps), "nll_loss": nll_metric(policy, batch, self.role)}
        return ObjectiveOutput((nll_term(policy, batch, self.normalization, self.role),), metrics)
