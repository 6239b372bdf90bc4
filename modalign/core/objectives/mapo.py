"""MaPO: likelihood of the chosen response and a margin of bounded scores, without a reference."""

import torch
from torch import Tensor
from torch.nn import functional as F

from modalign.core.batch import CHOSEN, REJECTED, Likelihood, PreferenceBatch
from modalign.core.objectives.base import Feedback, Metric, Objective, ObjectiveOutput, Term, pair, pair_metrics
from modalign.core.objectives.cells import full_precision, require_cells
from modalign.core.objectives.options import positive

_SERIES_BELOW = 0.05
"""Where the first five terms of the series are exact in float64, and the closed form's gradient cancels."""


class MaPo(Objective):
    """MaPO (2406.06424): the error of the chosen response, and a Bradley-Terry margin of bounded scores.

    `L = e_w - beta * log s(margin_scale * (h(k e_w) - h(k e_l)))` with `h(z) = z / (exp(z) - 1)`

    `e = -p` is a response's error, its negative mean log-probability per unit: the denoising error of an image, the
    negative log-likelihood per token of a text. `h` falls from 1 at no error towards 0, so no error is worth more than
    `margin_scale`. `k` is `error_scale`.

    The defaults are those of the authors' code, made for errors of an image model, about 0.002 to 0.2. For text, whose
    errors are of the order of 1, a `margin_scale` of 1 to 10 keeps the margin from saturating. Implicit rewards in the
    logs are `margin_scale * (h - 1)`.

    Args:
        beta: Factor of the margin's term, above 0.
        error_scale: `k`, above 0; `snr_value` in the authors' code.
        margin_scale: Factor of the margin, above 0; in the authors' code the number of training timesteps.
    """

    feedback = Feedback.PAIRWISE
    uses_reference = False

    def __init__(self, beta: float = 0.1, error_scale: float = 0.5, margin_scale: float = 1000.0) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.error_scale = positive("error_scale", error_scale)
        self.margin_scale = positive("margin_scale", margin_scale)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED)
        errors = -full_precision(policy.mean_logps)
        rewards = self.margin_scale * bounded_score(self.error_scale * errors)
        chosen, rejected = pair(rewards, batch)
        contrast = Term(-F.logsigmoid(chosen - rejected), coefficient=self.beta)
        error = Term(errors[:, batch.column(CHOSEN)])
        metrics = pair_metrics(rewards, policy, batch) | {"nll_loss": Metric(error.values.detach())}
        return ObjectiveOutput((error, contrast), metrics)


def bounded_score(z: Tensor) -> Tensor:
    """`z / (exp(z) - 1) - 1`, finite with its gradient for every finite `z`.

    The 1 is taken off because scores of small errors all lie near 1, where float32 keeps too little of their
    differences: it cancels in a margin.
    """
    near = z.abs() < _SERIES_BELOW
    small = torch.where(near, z, 0)
    square = small * small
    series = -small / 2 + square / 12 * (1 - square / 60 * (1 - square / 42))
    # With the exponential of -|z|, nothing overflows: h(-z) = h(z) + z.
    size = torch.where(near, 1, z).abs()
    closed = size * torch.exp(-size) / -torch.expm1(-size) + F.relu(torch.where(near, 0, -z)) - 1
    return torch.where(near, series, closed)
