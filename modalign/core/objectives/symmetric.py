"""Two images, each with its own answer, and each answer compared under both."""

import math

from modalign.core.batch import CHOSEN, OTHER_CHOSEN, OTHER_IMAGE, REJECTED, Likelihood, PreferenceBatch, under
from modalign.core.objectives.base import Feedback, Objective, ObjectiveOutput, Term, margin_metrics, pair_metrics
from modalign.core.objectives.cells import log_ratios, require_cells
from modalign.core.objectives.options import not_negative, positive
from modalign.core.objectives.pairwise import logistic_loss


class SymMpo(Objective):
    """SymMPO (2506.11712): pairs of responses under each of two images, so that what depends on the image cancels.

    `L = -log s(beta h) + pair_weight (-log s(beta h1) - log s(beta h2)) + consistency (h1 - h2)^2`
    `- log s(beta D(w | I)) - log s(anchor_beta D(u | I'))`

    with `h = D(w | I) - D(l | I)`, `h1 = D(w | I) - D(u | I)` and `h2 = D(u | I') - D(w | I')`. `D(y | I)` is a
    response's log-ratio under an image, `w` the right answer to the image `I`, `u` the right one to the other image
    `I'`, and `l` a wrong one to `I`. Unlike rDPO and mDPO, it never compares one response under two images.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        anchor_beta: The same in the anchor of the other image's answer, above 0.
        pair_weight: Weight of the two pairs of right answers, above 0.
        consistency: Weight of the square by which their two margins differ, at least 0.
        contrast: The other context, under which the modality makes `other_chosen` and `chosen`.
    """

    feedback = Feedback.PAIRWISE

    def __init__(
        self,
        beta: float = 0.1,
        anchor_beta: float = 0.1,
        pair_weight: float = 0.5,
        consistency: float = 1e-4,
        contrast: str = OTHER_IMAGE,
    ) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.anchor_beta = positive("anchor_beta", anchor_beta)
        self.pair_weight = positive("pair_weight", pair_weight)
        self.consistency = not_negative("consistency", consistency)
        self.contrast = contrast
        self.extra_roles = (OTHER_CHOSEN, under(OTHER_CHOSEN, contrast), under(CHOSEN, contrast))

    @property
    def start_loss(self) -> float | None:
        return math.log(2) * (3 + 2 * self.pair_weight)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        roles = (CHOSEN, REJECTED, *self.extra_roles)
        require_cells(batch, *roles)
        ratios = log_ratios(policy, reference)
        right, wrong, others, right_there, ours_there = (ratios[:, batch.column(role)] for role in roles)
        here, there = right - others, right_there - ours_there
        terms = (
            Term(logistic_loss(self.beta * (right - wrong))),
            Term(logistic_loss(self.beta * here) + logistic_loss(self.beta * there), coefficient=self.pair_weight),
            Term((here - there) ** 2, coefficient=self.consistency),
            Term(logistic_loss(self.beta * right)),
            Term(logistic_loss(self.anchor_beta * right_there)),
        )
        metrics = {
            **pair_metrics(self.beta * ratios, policy, batch),
            **margin_metrics("image", self.beta * here),
            **margin_metrics(self.contrast, self.beta * there),
            **margin_metrics("anchor", self.beta * right),
            **margin_metrics(f"{self.contrast}_anchor", self.anchor_beta * right_there),
        }
        return ObjectiveOutput(terms, metrics)
