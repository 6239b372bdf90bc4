"""Losses of single labelled responses: KTO and BCO.

`m` is a response's log-ratio, its log-probability under the policy minus that under the reference; `s` is the sigmoid.

The data is thumbs (one `candidate` a row, its score 1 or 0) or pairs, whose chosen counts as desirable and whose
rejected as undesirable. A row's loss is the mean over its labelled responses, so a row counts as its weight says,
whatever it holds. Over thumbs alone, or over pairs alone, this is the mean over all responses, as in TRL; where both
are mixed, each side of a pair counts half as much as a thumb.
"""

import math
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from modalign.core.batch import MISMATCHED, Likelihood, PreferenceBatch
from modalign.core.objectives.base import Feedback, Metric, Needs, Objective, ObjectiveOutput, Term
from modalign.core.objectives.cells import full_precision, labels, log_ratios, row_mean
from modalign.core.objectives.options import one_of, positive
from modalign.core.objectives.prospect import ReferencePoint, Utility, dissatisfaction, reference_point
from modalign.core.objectives.running_mean import RunningMean


class Kto(Objective):
    """KTO (2402.01306) and Diffusion-KTO (2404.04465): the utility of each response's gain over a reference point.

    `L = desirable_weight * (1 - U(beta (m - z)))` for desirable, `L = undesirable_weight * (1 - U(beta (z - m)))` for
    undesirable responses, with the utility `U`, `s` in KTO, and the reference point `z`, without gradient.

    `z` estimates the policy's divergence from the reference, over the micro-batches of all ranks: small ones make it
    noisy. KTO takes it from mismatched responses, which costs another likelihood a row; Diffusion-KTO from the batch.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        desirable_weight: Weight of desirable responses, above 0. The paper wants the ratio of `desirable_weight` times
            their number to `undesirable_weight` times the other number between 1 and 4/3.
        undesirable_weight: Weight of undesirable responses, above 0.
        utility: `U`: `kahneman_tversky` (`s(x)`), `loss_averse` (`log s(x)`) or `risk_seeking` (`-log s(-x)`).
        reference_point: `z`, at least 0: the mean of `m` over `mismatched` responses, over the `batch`, the mean of the
            means of the two `classes`, or `none`, which is 0.
    """

    feedback = Feedback.POINTWISE
    extra_roles: tuple[str, ...] = (MISMATCHED,)
    couples_batch = True

    def __init__(
        self,
        beta: float = 0.1,
        desirable_weight: float = 1.0,
        undesirable_weight: float = 1.0,
        utility: Utility = "kahneman_tversky",
        reference_point: ReferencePoint = "mismatched",
    ) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.desirable_weight = positive("desirable_weight", desirable_weight)
        self.undesirable_weight = positive("undesirable_weight", undesirable_weight)
        self.utility = one_of("utility", utility, get_args(Utility))
        self.reference_point = one_of("reference_point", reference_point, get_args(ReferencePoint))
        self.extra_roles = (MISMATCHED,) if reference_point == "mismatched" else ()
        self.couples_batch = reference_point != "none"

    @property
    def needs(self) -> Needs:
        return Needs(no_grad_roles=frozenset(self.extra_roles))

    @property
    def start_loss(self) -> float | None:
        if self.desirable_weight != self.undesirable_weight:
            return None
        return self.desirable_weight * dissatisfaction(torch.zeros((), dtype=torch.float64), self.utility).item()

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        desirable, undesirable = labels(batch)
        ratios = log_ratios(policy, reference)
        point = reference_point(self.reference_point, ratios, batch, desirable, undesirable)
        gains = self.beta * (ratios - point)
        losses = torch.where(
            desirable,
            self.desirable_weight * dissatisfaction(gains, self.utility),
            self.undesirable_weight * dissatisfaction(-gains, self.utility),
        )
        metrics = _label_metrics(self.beta * ratios, policy, batch, desirable, undesirable)
        metrics["kl"] = Metric(point.expand(len(batch)))
        return ObjectiveOutput((Term(row_mean(losses, desirable | undesirable)),), metrics)


class Bco(Objective):
    """BCO (2404.04656): a classifier of responses whose logit is the implicit reward, shifted by its mean.

    `L = -log s(r - delta)` for desirable, `L = -log s(delta - r)` for undesirable responses, with `r = beta m` and
    `delta` the mean of `r` over all training rows so far, the current micro-batch included, without gradient.

    `delta` is the pooled mean, as in TRL; the paper takes the mean of the two classes' means, which is the same where
    there are as many of both. Validation uses `delta` and does not move it.

    Args:
        beta: The strength of the pull towards the reference, above 0.
    """

    feedback = Feedback.POINTWISE
    couples_batch = True

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.shift = RunningMean()

    @property
    def start_loss(self) -> float | None:
        return math.log(2)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        desirable, undesirable = labels(batch)
        labelled = desirable | undesirable
        rewards = self.beta * log_ratios(policy, reference)
        if self.training:
            self.shift.update(row_mean(rewards, labelled), batch.weight)
        delta = self.shift.mean.clone()
        losses = -F.logsigmoid(torch.where(desirable, rewards - delta, delta - rewards))
        metrics = _label_metrics(rewards, policy, batch, desirable, undesirable)
        metrics["delta"] = Metric(delta.expand(len(batch)))
        return ObjectiveOutput((Term(row_mean(losses, labelled)),), metrics)


def _label_metrics(
    rewards: Tensor, policy: Likelihood, batch: PreferenceBatch, desirable: Tensor, undesirable: Tensor
) -> dict[str, Metric]:
    """TRL's metrics of a pointwise objective, from `(B, K)` implicit rewards and labels.

    `rewards/margins` is the mean reward of the batch's desirable rows minus that of its undesirable rows, as in TRL; a
    batch that lacks either does not count.
    """
    chosen, rejected = row_mean(rewards.detach(), desirable), row_mean(rewards.detach(), undesirable)
    has_chosen, has_rejected = desirable.any(dim=1), undesirable.any(dim=1)
    logps = full_precision(policy.logps).detach()
    # A row's share: the difference of the two means is the mean of the shares.
    margins = chosen * _scale(has_chosen, batch.weight) - rejected * _scale(has_rejected, batch.weight)
    both = (has_chosen & (batch.weight > 0)).any() & (has_rejected & (batch.weight > 0)).any()
    return {
        "rewards/chosen": Metric(chosen, has_chosen),
        "rewards/rejected": Metric(rejected, has_rejected),
        "rewards/margins": Metric(margins, both.expand(len(batch))),
        "logps/chosen": Metric(row_mean(logps, desirable), has_chosen),
        "logps/rejected": Metric(row_mean(logps, undesirable), has_rejected),
    }


def _scale(rows: Tensor, weight: Tensor) -> Tensor:
    """What turns the mean over some rows into a mean over all rows, zero elsewhere: `(B,)`."""
    total = (weight * rows).sum().clamp(min=torch.finfo(weight.dtype).tiny)
    return rows * weight.sum() / total
