"""What a disturbed image makes a model say, as the rejected response."""

import math

from torch import Tensor

from modalign.core.batch import CHOSEN, OTHER_IMAGE, REJECTED, Likelihood, PreferenceBatch, under
from modalign.core.objectives.base import (
    Feedback,
    Needs,
    Objective,
    ObjectiveOutput,
    Term,
    margin_metrics,
    pair,
    pair_metrics,
)
from modalign.core.objectives.cells import full_precision, log_ratios, require_cells, required
from modalign.core.objectives.options import positive, share
from modalign.core.objectives.pairwise import logistic_loss

MISLED = "misled_logps"


class Povid(Objective):
    """POVID's second stage (2402.11411): the data's rejected response, and one that each model misleads itself to.

    `L = noise_weight (-log s(beta (D(w) - D_n))) + (1 - noise_weight) (-log s(beta (D(w) - D(l))))`

    `D` is a response's log-ratio to the reference under the row's image, `w` the chosen and `l` the rejected one.
    `D_n = sum of log pi(v_t | I, w_<t) - log ref(v'_t | I, w_<t)`, where `v_t` is the token that the policy finds
    likeliest after `w_<t` under the noised image (the variant `noised`), and `v'_t` the one that the reference does.
    The choice of tokens has no gradient. The first stage is `dpo`.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        noise_weight: Share of the misled response in the loss, above 0 and below 1; 0.5 in the released code.
        contrast: The context that misleads: `other_image`, or the `other_audio` of models that hear.
    """

    feedback = Feedback.PAIRWISE

    def __init__(self, beta: float = 0.1, noise_weight: float = 0.5, contrast: str = OTHER_IMAGE) -> None:
        super().__init__()
        self.extra_roles = (under(CHOSEN, contrast),)
        self.beta = positive("beta", beta)
        self.noise_weight = share("noise_weight", noise_weight)

    @property
    def needs(self) -> Needs:
        return Needs(extra=frozenset({MISLED}), no_grad_roles=frozenset(self.extra_roles))

    @property
    def start_loss(self) -> float | None:
        return math.log(2)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED, *self.extra_roles)
        rewards = self.beta * log_ratios(policy, reference)
        chosen, rejected = pair(rewards, batch)
        misled = chosen - self.beta * (_misled(policy, batch) - _misled(required(reference), batch).detach())
        terms = (
            Term(logistic_loss(misled), coefficient=self.noise_weight),
            Term(logistic_loss(chosen - rejected), coefficient=1 - self.noise_weight),
        )
        return ObjectiveOutput(terms, pair_metrics(rewards, policy, batch) | margin_metrics("misled", misled))


def _misled(likelihood: Likelihood, batch: PreferenceBatch) -> Tensor:
    """`(B,)`: under the row's image, the log-probability of the tokens that the noised one suggests."""
    return full_precision(likelihood.extra[MISLED][:, batch.column(CHOSEN)])
