"""DPO whose beta follows from how clearly the data prefers."""

import math

import torch
from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, Comparison, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError, RowError
from modalign.core.objectives.base import Feedback, Metric, Objective, ObjectiveOutput, Term, pair, pair_metrics
from modalign.core.objectives.cells import log_ratios, require_cells, row_numbers
from modalign.core.objectives.options import not_negative, positive
from modalign.core.objectives.pairwise import logistic_loss

_CURE = (
    "Use data with scores (columns chosen_score and rejected_score in vision_preference, or ranked lists that the "
    "format splits into pairs), or the objective dpo."
)


class MmDpo(Objective):
    """MM-DPO, dynamic reward scaling (MM-RLHF, 2502.10391, section 4).

    `L = -log s(beta(d) h)` with `beta(d) = beta (1 + w (1 - exp(-k d)))`, kept within `beta` and `(1 + w) beta`, where
    `d` is the score of the chosen response minus that of the rejected one.

    The released code reads a factor from the data, and by default replaces its beta by one of implicit rewards, which
    the paper says does not help; this is the paper's. The paper adds the chosen response's likelihood, with a weight
    from 0 to 1: a `sum` with `sft`. Implicit rewards in the logs are `beta m`, with the fixed beta.

    Args:
        beta: The smallest strength of the pull towards the reference, above 0.
        w: By what share it grows at most, at least 0.
        k: How fast it grows with `d`, above 0; for scores of about -5 to 5, 0.5.
    """

    feedback = Feedback.PAIRWISE

    def __init__(self, beta: float = 0.1, w: float = 0.5, k: float = 0.5) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.w = not_negative("w", w)
        self.k = positive("k", k)

    @property
    def start_loss(self) -> float | None:
        return math.log(2)

    def check_comparison(self, comparison: Comparison) -> None:
        scores = {each.role: each.score for each in comparison.candidates}
        lacking = [role for role in (CHOSEN, REJECTED) if not math.isfinite(_number(scores.get(role)))]
        if lacking:
            raise RowError(f"no score of {' and '.join(lacking)}: the objective scales beta by both", _CURE)

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        require_cells(batch, CHOSEN, REJECTED)
        ratios = log_ratios(policy, reference)
        chosen, rejected = pair(ratios, batch)
        betas = self._betas(_score_margins(batch, ratios.dtype))
        metrics = pair_metrics(self.beta * ratios, policy, batch)
        return ObjectiveOutput((Term(logistic_loss(betas * (chosen - rejected))),), metrics | {"beta": Metric(betas)})

    def _betas(self, margins: Tensor) -> Tensor:
        """`(B,)`: a preference against the scores has the smallest beta."""
        return self.beta * (1 + self.w * -torch.expm1(-self.k * margins.clamp(min=0)))


def _number(score: float | None) -> float:
    return math.nan if score is None else score


def _score_margins(batch: PreferenceBatch, dtype: torch.dtype) -> Tensor:
    """`(B,)`: how much better the data finds the chosen responses.

    Raises:
        ConfigError: A response has no score; it names the rows.
    """
    chosen, rejected = pair(batch.scores.to(dtype), batch)
    margins = chosen - rejected
    lacking = ~margins.isfinite()
    if lacking.any():
        raise ConfigError(
            "The objective scales beta by the scores of both responses, and rows "
            f"{row_numbers(batch.index[lacking])} of the data lack one.",
            _CURE,
        )
    return margins
