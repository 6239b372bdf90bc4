"""DPO in which some tokens weigh more than others."""

import math

from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, Likelihood, PreferenceBatch
from modalign.core.objectives.base import (
    Feedback,
    Metric,
    Needs,
    Objective,
    ObjectiveOutput,
    Term,
    pair,
    pair_metrics,
)
from modalign.core.objectives.cells import full_precision, log_ratios, require_cells, required
from modalign.core.objectives.options import positive
from modalign.core.objectives.pairwise import logistic_loss

LOGPS, SIZES = "corrected_logps", "corrected_sizes"


class DenseDpo(Objective):
    """RLHF-V's dense DPO (DDPO, 2312.00849): tokens of corrected segments weigh more.

    `L = -log s(beta (M_w - M_l))`, where `M` is the difference between policy and reference of
    `(sum of unchanged log p + gamma * sum of corrected log p) / N`, and `N = |unchanged| + gamma |corrected|`.

    Corrected are the tokens that the pair's other response has not: those outside the common runs of at least 3
    tokens, or those that the data marks. The released code divides by `N` only by an option, which is off in its
    command, with gamma 1.1 and beta 0.1; a mean a token wants a larger beta than a sum.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        gamma: The weight of a corrected token, above 0; an unchanged one weighs 1.
        average: Whether to divide by `N`, as the paper does.
    """

    feedback = Feedback.PAIRWISE

    def __init__(self, beta: float = 0.5, gamma: float = 5.0, average: bool = True) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.gamma = positive("gamma", gamma)
        self.average = average

    @property
    def needs(self) -> Needs:
        return Needs(extra=frozenset({LOGPS, SIZES}))

    @property
    def start_loss(self) -> float | None:
        return math.log(2)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED)
        ratios = self._weighted(log_ratios(policy, reference), _corrected_ratios(policy, required(reference)), policy)
        chosen, rejected = pair(ratios, batch)
        metrics = pair_metrics(self.beta * ratios, policy, batch)
        shares = policy.extra[SIZES] / policy.sizes.clamp(min=1)
        for role, share in zip((CHOSEN, REJECTED), pair(shares, batch), strict=True):
            metrics[f"corrected/{role}"] = Metric(share.detach())
        return ObjectiveOutput((Term(logistic_loss(self.beta * (chosen - rejected))),), metrics)

    def _weighted(self, ratios: Tensor, corrected: Tensor, policy: Likelihood) -> Tensor:
        """`(B, K)`: `M`."""
        weighted = ratios + (self.gamma - 1) * corrected
        if not self.average:
            return weighted
        total = policy.sizes + (self.gamma - 1) * policy.extra[SIZES].to(ratios.dtype)
        # A cell that does not exist has no tokens.
        return weighted / total.where(total > 0, 1.0)


def _corrected_ratios(policy: Likelihood, reference: Likelihood) -> Tensor:
    """`(B, K)`: the log-ratio of the corrected tokens alone."""
    return full_precision(policy.extra[LOGPS]) - full_precision(reference.extra[LOGPS]).detach()
