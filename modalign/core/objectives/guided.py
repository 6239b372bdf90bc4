"""DPO of likelihoods that are guided away from what a response is worth without the image."""

from typing import Literal, get_args

from torch import Tensor

from modalign.core.batch import CHOSEN, OTHER_IMAGE, REJECTED, Likelihood, PreferenceBatch, under
from modalign.core.errors import ConfigError
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
from modalign.core.objectives.options import flip_probability, one_of, positive
from modalign.core.objectives.pairwise import logistic_loss

Unguided = Literal["reference", "policy"]


class VDpo(Objective):
    """V-DPO (2411.02712): DPO of the policy guided by the image, as a diffusion model is by its prompt.

    `L = -(1 - e) log s(beta h) - e log s(-beta h)` with `h = (G(w) - log ref(w | I)) - (G(l) - log ref(l | I))` and
    `G(y) = guidance log pi(y | I) - (guidance - 1) log p(y | I0)`. `w` and `l` are the chosen and the rejected
    response, `I` is the image, `I0` stands for none (the variant `black`), and `p` gets no gradient.

    At a guidance of 1 this is DPO. The released script's 0 leaves the policy no gradient at all, so no published
    value can be told.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        guidance: Above 1.
        unguided: Which model is `p`: the `reference`, or the `policy` as it is at this step.
        label_smoothing: `e`, the probability that a label is wrong: at least 0, below 0.5.
        contrast: The context without the image.
    """

    feedback = Feedback.PAIRWISE

    def __init__(
        self,
        beta: float = 0.1,
        guidance: float = 1.5,
        unguided: Unguided = "reference",
        label_smoothing: float = 0.0,
        contrast: str = OTHER_IMAGE,
    ) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.guidance = positive("guidance", guidance)
        if guidance <= 1:
            raise ConfigError(
                f"The objective's guidance is {guidance!r}, and what the image adds would not count for more.",
                "Give guidance a number above 1, or use dpo, which is a guidance of 1.",
            )
        self.unguided = one_of("unguided", unguided, get_args(Unguided))
        self.label_smoothing = flip_probability("label_smoothing", label_smoothing)
        self.extra_roles = (under(CHOSEN, contrast), under(REJECTED, contrast))

    @property
    def needs(self) -> Needs:
        return Needs(no_grad_roles=frozenset(self.extra_roles))

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED, *self.extra_roles)
        ratios = log_ratios(policy, reference)
        unguided = required(reference) if self.unguided == "reference" else policy
        chosen, rejected = (
            ratio + (self.guidance - 1) * (with_image - without_image)
            for ratio, with_image, without_image in zip(
                pair(ratios, batch),
                pair(full_precision(policy.logps), batch),
                self._without_image(unguided, batch),
                strict=True,
            )
        )
        margins = self.beta * (chosen - rejected)
        metrics = pair_metrics(self.beta * ratios, policy, batch) | margin_metrics("guided", margins)
        return ObjectiveOutput((Term(logistic_loss(margins, self.label_smoothing)),), metrics)

    def _without_image(self, model: Likelihood, batch: PreferenceBatch) -> tuple[Tensor, ...]:
        """`(B,)` each: the log-probabilities of chosen and rejected in the other context, without gradient."""
        return tuple(full_precision(model.logps[:, batch.column(role)]).detach() for role in self.extra_roles)
