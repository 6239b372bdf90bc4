"""Pairwise losses of the margin between two log-ratios to a reference: DPO and its nearest relatives.

`m = P - R` is a response's log-ratio: its summed log-probability under the policy minus that under the reference. The
margin is `h = m_w - m_l`, with `w` the chosen and `l` the rejected response. `s` is the sigmoid.
"""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from modalign.core.batch import CHOSEN, REJECTED, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Feedback, Objective, ObjectiveOutput, Term, pair, pair_metrics
from modalign.core.objectives.cells import log_ratios, require_cells
from modalign.core.objectives.options import flip_probability, one_of, positive


def logistic_loss(logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """`-(1 - e) log s(logits) - e log s(-logits)`: cross-entropy against a label that is wrong with probability `e`."""
    return -(1 - label_smoothing) * F.logsigmoid(logits) - label_smoothing * F.logsigmoid(-logits)


class MarginObjective(Objective):
    """A loss of the margin alone; subclasses say which.

    Implicit rewards in the logs are `beta * m`.

    Args:
        beta: The strength of the pull towards the reference, above 0.
    """

    feedback = Feedback.PAIRWISE

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        self.beta = positive("beta", beta)

    @abstractmethod
    def loss(self, margin: Tensor) -> Tensor:
        """`(B,)` losses from `(B,)` margins."""

    def normalize(self, ratios: Tensor, sizes: Tensor) -> Tensor:
        """What the margin is the difference of: the `(B, K)` log-ratios, or the same in relation to their sizes."""
        return ratios

    @property
    def start_loss(self) -> float | None:
        return self.loss(torch.zeros(1, dtype=torch.float64)).item()

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED)
        ratios = log_ratios(policy, reference)
        chosen, rejected = pair(self.normalize(ratios, policy.sizes), batch)
        metrics = pair_metrics(self.beta * ratios, policy, batch)
        return ObjectiveOutput((Term(self.loss(chosen - rejected)),), metrics)


class Dpo(MarginObjective):
    """DPO (2305.18290, Eq. 7) and, with label smoothing, conservative DPO (Mitchell's note of 2023).

    `L = -(1 - e) log s(beta h) - e log s(-beta h)`

    Only the margin is pinned: the chosen response may become less likely too, so watch `logps/chosen`. With smoothing,
    the optimum is the finite margin `logit(1 - e) / beta`.

    Args:
        beta: The strength of the pull towards the reference, above 0; 0.1 to 0.5 in the paper.
        label_smoothing: `e`, the probability that a label is wrong: at least 0, below 0.5.
    """

    def __init__(self, beta: float = 0.1, label_smoothing: float = 0.0) -> None:
        super().__init__(beta)
        self.label_smoothing = flip_probability("label_smoothing", label_smoothing)

    def loss(self, margin: Tensor) -> Tensor:
        return logistic_loss(self.beta * margin, self.label_smoothing)


class RobustDpo(MarginObjective):
    """Provably robust DPO (2403.00409): an unbiased estimate of the loss under the true labels.

    `L = [-(1 - e) log s(beta h) + e log s(-beta h)] / (1 - 2e)`

    Unbounded below: where the margin grows, the loss falls without end and becomes negative, so stop early.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        label_smoothing: `e`, the probability that a label is wrong: above 0, below 0.5.
    """

    def __init__(self, beta: float = 0.1, label_smoothing: float = 0.1) -> None:
        super().__init__(beta)
        self.label_smoothing = flip_probability("label_smoothing", label_smoothing)
        if label_smoothing == 0:
            raise ConfigError(
                "The objective's label_smoothing is 0, which makes robust_dpo plain DPO.",
                "Give label_smoothing a number above 0 and below 0.5, or use dpo.",
            )

    def loss(self, margin: Tensor) -> Tensor:
        clean, flipped = F.logsigmoid(self.beta * margin), F.logsigmoid(-self.beta * margin)
        return (self.label_smoothing * flipped - (1 - self.label_smoothing) * clean) / (1 - 2 * self.label_smoothing)


class Ipo(MarginObjective):
    """IPO (2310.12036, Eq. 17): regression of the margin onto `1 / (2 tau)`.

    `L = (h - 1 / (2 tau))^2`, with `h` from log-ratios per token or summed. The paper's text has the sum; TRL takes the
    mean, which its authors say the paper ran. The two want a `beta` that differs by about the response's length.

    Args:
        beta: The paper's `tau`, above 0.
        normalization: `mean` divides each log-ratio by its response's length; `sum` does not.
    """

    def __init__(self, beta: float = 0.1, normalization: Literal["mean", "sum"] = "mean") -> None:
        super().__init__(beta)
        self.normalization = one_of("normalization", normalization, ("mean", "sum"))

    def normalize(self, ratios: Tensor, sizes: Tensor) -> Tensor:
        return ratios / sizes.clamp(min=1) if self.normalization == "mean" else ratios

    def loss(self, margin: Tensor) -> Tensor:
        return (margin - 1 / (2 * self.beta)) ** 2


class Hinge(MarginObjective):
    """The hinge loss on the reference-normalised margin ("hinge-norm" of RSO, 2309.06657, Eq. 10).

    `L = max(0, 1 - beta h)`

    Not SLiC-HF, which has no reference and a regulariser; pairs beyond the margin give no gradient at all.

    Args:
        beta: The paper's `gamma`, above 0.
    """

    def loss(self, margin: Tensor) -> Tensor:
        return F.relu(1 - self.beta * margin)
