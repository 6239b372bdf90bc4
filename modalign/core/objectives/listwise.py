"""Losses of ranked lists."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from modalign.core.batch import CANDIDATE, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Feedback, Metric, Objective, ObjectiveOutput, Term
from modalign.core.objectives.cells import full_precision, log_ratios, row_mean, row_numbers
from modalign.core.objectives.options import one_of, positive

Gain = Literal["rank", "score"]


class RankDpo(Objective):
    """RankDPO (2410.18013): DPO over every two responses of a list, weighted by what their order is worth.

    `L = - sum over i ranked above j of D_ij * log s(beta (m_i - m_j))` with
    `D_ij = (2^psi_i - 2^psi_j) * |1 / log(1 + tau_i) - 1 / log(1 + tau_j)|`

    `m` is a response's log-ratio, `psi` its gain from 0 to 1, and `tau` its rank by `psi`, 1 for the best; equal ones
    share their mean rank. Two responses of equal gain add nothing. The weights `D` depend on the labels alone, never on
    the policy. A list's loss is a sum, so longer lists count more.

    The paper's gain is the share of votes that a response wins against the others of its list, over several reward
    models. Where the data holds this share, `gain: score` takes it. `gain: rank` makes it from one score of any scale:
    the share of the other responses with a lower score.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        gain: Where `psi` comes from: `rank` or `score`, which must then lie from 0 to 1.
        discount: Whether the factor of ranks is part of the weight; without it, every place of a list counts the same.
    """

    feedback = Feedback.LISTWISE
    reads = frozenset({CANDIDATE})

    def __init__(self, beta: float = 0.1, gain: Gain = "rank", discount: bool = True) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.gain = one_of("gain", gain, ("rank", "score"))
        self.discount = discount

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        listed = _listed(batch)
        rewards = self.beta * log_ratios(policy, reference)
        scores = torch.where(listed, batch.scores, 0).to(rewards.dtype)
        margins = rewards[:, :, None] - rewards[:, None, :]
        ordered = _above(scores, listed)
        losses = -F.logsigmoid(margins) * self._weights(batch, scores, listed)
        losses = torch.where(ordered, losses, 0).sum(dim=(1, 2))
        return ObjectiveOutput((Term(losses),), _metrics(rewards, margins, ordered, listed, policy))

    def _weights(self, batch: PreferenceBatch, scores: Tensor, listed: Tensor) -> Tensor:
        """`(B, K, K)`: `D`, meant where the first of two responses is ranked above the second."""
        above = _above(scores, listed)
        beaten, better = above.sum(dim=2), above.sum(dim=1)
        if self.gain == "score":
            _check_share(batch, scores)
            gains = scores
        else:
            gains = beaten.to(scores.dtype) / (listed.sum(dim=1, keepdim=True) - 1)
        worth = torch.exp2(gains)
        weights = (worth[:, :, None] - worth[:, None, :]).abs()
        if self.discount:
            equal = listed.sum(dim=1, keepdim=True) - beaten - better
            ranks = (1 + better + (equal - 1) / 2).to(worth.dtype)
            discounts = 1 / torch.log1p(ranks)
            weights = weights * (discounts[:, :, None] - discounts[:, None, :]).abs()
        return weights


def _listed(batch: PreferenceBatch) -> Tensor:
    """`(B, K)` bool: the candidates.

    Raises:
        ConfigError: A row has fewer than two, or one without a score; it names the rows.
    """
    columns = torch.tensor([role == CANDIDATE for role in batch.roles], device=batch.mask.device)
    listed = batch.mask & columns
    unusable = (listed.sum(dim=1) < 2) | (listed & ~batch.scores.isfinite()).any(dim=1)
    if unusable.any():
        raise ConfigError(
            "The objective needs lists of at least two responses, each with a score; rows "
            f"{row_numbers(batch.index[unusable])} of the data have none.",
            "Use ranked lists kept whole (for scored completions, the format's pairs: none), or an objective for what "
            "the data says.",
        )
    return listed


def _above(scores: Tensor, listed: Tensor) -> Tensor:
    """`(B, K, K)` bool: whether the first of two candidates has the higher score."""
    both = listed[:, :, None] & listed[:, None, :]
    return both & (scores[:, :, None] > scores[:, None, :])


def _check_share(batch: PreferenceBatch, scores: Tensor) -> None:
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        raise ConfigError(
            f"The objective's gain is score, which must lie from 0 to 1; rows "
            f"{row_numbers(batch.index[outside.any(dim=1)])} of the data have scores such as {scores[outside][0]:g}.",
            "Set the objective's gain: rank, which takes scores of any scale, or give shares of votes as scores.",
        )


def _metrics(
    rewards: Tensor, margins: Tensor, ordered: Tensor, listed: Tensor, policy: Likelihood
) -> dict[str, Metric]:
    """A row's means over its ordered pairs, and over its responses."""
    rewards, margins, pairs = rewards.detach(), margins.detach().flatten(1), ordered.flatten(1)
    any_pair = pairs.any(dim=1)
    return {
        "rewards/candidate": Metric(row_mean(rewards, listed)),
        "rewards/accuracies": Metric(row_mean((margins > 0).to(rewards.dtype), pairs), any_pair),
        "rewards/margins": Metric(row_mean(margins, pairs), any_pair),
        "logps/candidate": Metric(row_mean(full_precision(policy.logps).detach(), listed)),
    }
