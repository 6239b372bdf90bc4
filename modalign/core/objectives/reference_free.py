"""Pairwise losses without a reference: SimPO, ORPO and CPO.

`P` is a response's summed log-probability under the policy, `p = P / |y|` its mean per token; `w` is the chosen and `l`
the rejected response, `s` the sigmoid.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from modalign.core.batch import CHOSEN, REJECTED, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Feedback, Metric, Objective, ObjectiveOutput, Term, pair, pair_metrics
from modalign.core.objectives.cells import full_precision, require_cells
from modalign.core.objectives.options import flip_probability, not_negative, one_of, positive
from modalign.core.objectives.pairwise import logistic_loss
from modalign.core.objectives.sft import Normalization, nll_metric, nll_term, normalization_option


class SimPo(Objective):
    """SimPO (2405.14734, Eq. 6): the margin of mean log-probabilities against a target.

    `L = -log s(beta (p_w - p_l) - gamma)`, smoothed as in `dpo`, or `max(0, 1 - beta (p_w - p_l) + gamma)`

    `gamma = gamma_beta_ratio * beta`, as in the authors' code. TRL's `simpo_gamma` is `gamma` itself, and its
    `cpo_alpha` must be 0 for the same loss.

    Args:
        beta: Scale of the mean log-probabilities, above 0; 2 to 10 in the authors' recipes.
        gamma_beta_ratio: The target margin of mean log-probabilities, at least 0.
        label_smoothing: The probability that a label is wrong: at least 0, below 0.5.
        loss: `sigmoid` or `hinge`.
    """

    feedback = Feedback.PAIRWISE
    uses_reference = False

    def __init__(
        self,
        beta: float = 2.0,
        gamma_beta_ratio: float = 0.25,
        label_smoothing: float = 0.0,
        loss: Literal["sigmoid", "hinge"] = "sigmoid",
    ) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.gamma_beta_ratio = not_negative("gamma_beta_ratio", gamma_beta_ratio)
        self.label_smoothing = flip_probability("label_smoothing", label_smoothing)
        self.loss = one_of("loss", loss, ("sigmoid", "hinge"))
        if loss == "hinge" and label_smoothing:
            raise ConfigError(
                f"The objective's label_smoothing is {label_smoothing}, and its hinge loss has no such thing.",
                "Set label_smoothing to 0, or loss to sigmoid.",
            )

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED)
        mean_logps = full_precision(policy.mean_logps)
        chosen, rejected = pair(mean_logps, batch)
        logits = self.beta * (chosen - rejected - self.gamma_beta_ratio)
        losses = F.relu(1 - logits) if self.loss == "hinge" else logistic_loss(logits, self.label_smoothing)
        return ObjectiveOutput((Term(losses),), pair_metrics(self.beta * mean_logps, policy, batch))


class Orpo(Objective):
    """ORPO (2403.07691, Eq. 6 and 7): likelihood of the chosen, and the log-odds of the chosen over the rejected.

    `L = NLL(y_w) - weight * log s(logodds(p_w) - logodds(p_l))` with `logodds(p) = p - log(1 - exp(p))`

    The likelihood counts the response only; TRL counts the prompt too. As in TRL, implicit rewards are `weight * p`,
    and `log_odds_ratio` in the logs is the log-sigmoid of the log-odds' difference, `log_odds_chosen`.

    Args:
        weight: The paper's `lambda`, TRL's `beta`, above 0.
        nll_normalization: What the mean of the negative log-likelihood is over; see `sft`.
    """

    feedback = Feedback.PAIRWISE
    uses_reference = False

    def __init__(self, weight: float = 0.1, nll_normalization: Normalization = "token") -> None:
        super().__init__()
        self.weight = positive("weight", weight)
        self.nll_normalization = normalization_option("nll_normalization", nll_normalization)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED)
        mean_logps = full_precision(policy.mean_logps)
        chosen, rejected = pair(mean_logps, batch)
        margin = log_odds(chosen) - log_odds(rejected)
        ratio = F.logsigmoid(margin)
        nll = nll_term(policy, batch, self.nll_normalization)
        metrics = pair_metrics(self.weight * mean_logps, policy, batch) | {
            "nll_loss": nll_metric(policy, batch),
            "log_odds_ratio": Metric(ratio.detach()),
            "log_odds_chosen": Metric(margin.detach()),
        }
        return ObjectiveOutput((nll, Term(-ratio, coefficient=self.weight)), metrics)


class Cpo(Objective):
    """CPO (2401.08417, Eq. 3): DPO against a uniform reference, and likelihood of the chosen.

    `L = -log s(beta (P_w - P_l)) + alpha * NLL(y_w)`, the first term smoothed as in `dpo`

    Log-probabilities are summed, so that of two responses the shorter starts ahead.

    Args:
        beta: Scale of the summed log-probabilities, above 0.
        alpha: Factor of the negative log-likelihood, at least 0.
        label_smoothing: The probability that a label is wrong: at least 0, below 0.5.
        nll_normalization: What the mean of the negative log-likelihood is over; see `sft`.
    """

    feedback = Feedback.PAIRWISE
    uses_reference = False

    def __init__(
        self,
        beta: float = 0.1,
        alpha: float = 1.0,
        label_smoothing: float = 0.0,
        nll_normalization: Normalization = "token",
    ) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.alpha = not_negative("alpha", alpha)
        self.label_smoothing = flip_probability("label_smoothing", label_smoothing)
        self.nll_normalization = normalization_option("nll_normalization", nll_normalization)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED)
        rewards = self.beta * full_precision(policy.logps)
        chosen, rejected = pair(rewards, batch)
        contrast = Term(logistic_loss(chosen - rejected, self.label_smoothing))
        nll = nll_term(policy, batch, self.nll_normalization, coefficient=self.alpha)
        metrics = pair_metrics(rewards, policy, batch) | {"nll_loss": nll_metric(policy, batch)}
        return ObjectiveOutput((contrast, nll), metrics)


def log_odds(logps: Tensor) -> Tensor:
    """`log(P / (1 - P))` from `log P <= 0`, finite up to and including `log P = 0`.

    `log(1 - P)` is exact where it matters, near `P = 1`; elsewhere its absolute error is that of rounding.
    """
    certain = -torch.finfo(logps.dtype).eps
    logps = logps.clamp(max=certain)
    return logps - torch.log(-torch.expm1(logps))
