"""Preferences between images: a response is more likely under the image it describes than under another.

`D(y | I)` is a response's log-ratio under an image: its summed log-probability under the policy minus that under the
reference. `w` is the chosen and `l` the rejected response, `I` the row's image and `I'` the other one, which the
modality or the data chooses. The same holds of any other context: of prompts, say.
"""

import math
from dataclasses import replace

from modalign.core.batch import CHOSEN, OTHER_IMAGE, REJECTED, Likelihood, PreferenceBatch, under
from modalign.core.objectives.base import (
    Feedback,
    Metric,
    Objective,
    ObjectiveOutput,
    Term,
    margin_metrics,
    pair,
    pair_metrics,
)
from modalign.core.objectives.cells import full_precision, log_ratios, require_cells
from modalign.core.objectives.options import finite, positive
from modalign.core.objectives.pairwise import logistic_loss


class RdpoVisual(Objective):
    """Re-Align's rDPO (2502.13146): a pair of responses and a pair of images, which a neighbour in retrieval makes.

    `L = -log s(beta (D(w | I) - D(l | I))) - image_weight log s(beta (D(w | I) - D(w | I')))`

    This is the paper's. The released code scores, in place of the rejected response and of the one under `I'`, the
    likeliest tokens that are not theirs, so that its figures do not tell of this loss. Not robust DPO (`robust_dpo`)
    and not length-regularised R-DPO (`lc_dpo`).

    Args:
        beta: The strength of the pull towards the reference, above 0.
        image_weight: Weight of the pair of images, above 0; 1 in the paper.
        contrast: The other context of the second pair: `other_image`, or what else the modality makes, such as
            `other_audio`, or the `other_prompt` of text.
    """

    feedback = Feedback.PAIRWISE

    def __init__(self, beta: float = 0.1, image_weight: float = 1.0, contrast: str = OTHER_IMAGE) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.image_weight = positive("image_weight", image_weight)
        self.contrast = contrast
        self.extra_roles = (under(CHOSEN, contrast),)

    @property
    def start_loss(self) -> float | None:
        return math.log(2) * (1 + self.image_weight)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        (contrasted,) = self.extra_roles
        require_cells(batch, CHOSEN, REJECTED, contrasted)
        rewards = self.beta * log_ratios(policy, reference)
        chosen, rejected = pair(rewards, batch)
        images = chosen - rewards[:, batch.column(contrasted)]
        terms = (Term(logistic_loss(chosen - rejected)), Term(logistic_loss(images), coefficient=self.image_weight))
        logps = full_precision(policy.logps[:, batch.column(contrasted)]).detach()
        metrics = pair_metrics(rewards, policy, batch) | margin_metrics(self.contrast.removeprefix("other_"), images)
        return ObjectiveOutput(terms, metrics | {f"logps/{contrasted}": Metric(logps)})


class MDpo(RdpoVisual):
    """mDPO (2406.11839): rDPO's two pairs, and an anchor that keeps the chosen response likely.

    `L = -log s(beta (D(w | I) - D(l | I))) - image_weight log s(beta (D(w | I) - D(w | I')))`
    `- log s(beta D(w | I) - anchor)`

    The paper's `I'` is a random crop of the image, to at most a fifth of its area, scaled up.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        image_weight: Weight of the pair of images, above 0; 1 in the paper.
        anchor: The reward above which the chosen response is to stay, any number; 0 in the paper.
        contrast: The other context of the second pair; see `RdpoVisual`.
    """

    def __init__(
        self, beta: float = 0.1, image_weight: float = 1.0, anchor: float = 0.0, contrast: str = OTHER_IMAGE
    ) -> None:
        super().__init__(beta, image_weight, contrast)
        self.anchor = finite("anchor", anchor)

    @property
    def start_loss(self) -> float | None:
        return math.log(2) * (1 + self.image_weight) + math.log1p(math.exp(self.anchor))

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        output = super().forward(policy, reference, batch)
        chosen, _ = pair(self.beta * log_ratios(policy, reference), batch)
        above = chosen - self.anchor
        metrics = {**output.metrics, **margin_metrics("anchor", above)}
        return replace(output, terms=(*output.terms, Term(logistic_loss(above))), metrics=metrics)
