"""What prospect theory adds to a loss of single responses: a utility of gains, and the point they are counted from."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from modalign.core.batch import MISMATCHED, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import distributed_mean, distributed_sums
from modalign.core.objectives.cells import row_mean

Utility = Literal["kahneman_tversky", "loss_averse", "risk_seeking"]
"""How much a gain `x` is worth (Diffusion-KTO, 2404.04465):

- `kahneman_tversky`: `s(x)`, flat for large gains and for large losses.
- `loss_averse`: `log s(x)`, concave: losses hurt without bound.
- `risk_seeking`: `-log s(-x)`, convex: gains please without bound, so the loss has no lower bound; `risk_seeking_3` of
  the authors' code.
"""

ReferencePoint = Literal["mismatched", "batch", "classes", "none"]
"""From where gains are counted; at least 0, over the micro-batches of all ranks, without gradient:

- `mismatched`: the mean log-ratio of each row's `mismatched` cell, another row's response (KTO, 2402.01306).
- `batch`: the mean log-ratio of the labelled responses themselves (Diffusion-KTO's released code); no further cells.
- `classes`: the mean of two means, that of the desirable and that of the undesirable responses; where one is absent,
  the other. Does not move with the share of good responses in a batch.
- `none`: 0.
"""


def dissatisfaction(gains: Tensor, utility: str) -> Tensor:
    """`1 - U(gains)`, elementwise, for one of `Utility`."""
    if utility == "kahneman_tversky":
        return torch.sigmoid(-gains)
    return 1 - F.logsigmoid(gains) if utility == "loss_averse" else 1 + F.logsigmoid(-gains)


def reference_point(
    kind: str, ratios: Tensor, batch: PreferenceBatch, desirable: Tensor, undesirable: Tensor
) -> Tensor:
    """A scalar, without gradient.

    Args:
        kind: One of `ReferencePoint`.
        ratios: `(B, K)` log-ratios.
        batch: Its weights count.
        desirable: `(B, K)` bool, which cells are.
        undesirable: `(B, K)` bool, which cells are.

    Raises:
        ConfigError: The batch has no mismatched cells where they are wanted.
    """
    if kind == "none":
        return ratios.new_zeros(())
    if kind == "mismatched":
        point = _mismatched_mean(ratios, batch)
    elif kind == "batch":
        point = distributed_mean(row_mean(ratios, desirable | undesirable), batch.weight)
    else:
        point = _mean_of_classes(ratios, batch.weight, desirable, undesirable)
    return point.clamp(min=0)


def _mismatched_mean(ratios: Tensor, batch: PreferenceBatch) -> Tensor:
    """The mean log-ratio of the `mismatched` cells over the rows of all ranks that have one."""
    if MISMATCHED not in batch.roles:
        raise ConfigError(
            f"KTO needs a {MISMATCHED!r} response beside each row's own, and the batch has none (its roles: "
            f"{', '.join(batch.roles)}).",
            "Take batches from PreferenceDataModule, which adds them.",
        )
    column = batch.column(MISMATCHED)
    return distributed_mean(ratios[:, column], batch.weight * batch.mask[:, column])


def _mean_of_classes(ratios: Tensor, weight: Tensor, desirable: Tensor, undesirable: Tensor) -> Tensor:
    sums = torch.stack(
        [distributed_sums(row_mean(ratios, cells), weight * cells.any(dim=1)) for cells in (desirable, undesirable)]
    )
    totals, counts = sums.unbind(dim=1)
    means = totals / counts.clamp(min=torch.finfo(counts.dtype).tiny)
    return means.sum() / (counts > 0).sum().clamp(min=1)
