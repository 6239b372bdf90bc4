"""What objectives read from a batch: the cells that must be there, their labels, and log-ratios."""

import torch
from torch import Tensor

from modalign.core.batch import CANDIDATE, CHOSEN, REJECTED, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError


def full_precision(values: Tensor) -> Tensor:
    """float64 as it is, anything narrower in float32, so that no formula is computed in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def required(reference: Likelihood | None) -> Likelihood:
    """The reference's likelihood, for a formula that has one.

    Raises:
        ConfigError: There is no reference.
    """
    if reference is None:
        raise ConfigError(
            "This objective compares the policy with a reference, and the run has none.",
            "Give model.reference, or use a reference-free objective such as simpo.",
        )
    return reference


def log_ratios(policy: Likelihood, reference: Likelihood | None) -> Tensor:
    """`(B, K)`: log-probability under the policy minus that under the reference, which gets no gradient.

    Raises:
        ConfigError: There is no reference.
    """
    return full_precision(policy.logps) - full_precision(required(reference).logps).detach()


def require_cells(batch: PreferenceBatch, *roles: str) -> None:
    """Make sure that every row has exactly one cell of each of these roles.

    A missing cell's log-probability is 0, which a formula would take for certainty.

    Raises:
        ConfigError: Naming the rows at fault.
    """
    for role in roles:
        count = batch.roles.count(role)
        if count != 1:
            raise ConfigError(
                f"The objective needs one {role!r} response a row, and rows {row_numbers(batch.index)} have "
                f"{'several' if count else 'none'} (their roles: {', '.join(batch.roles)}).",
                "Split each row into comparisons with one." if count else "Use data or an objective that fits.",
            )
    present = batch.mask[:, [batch.column(role) for role in roles]]
    if not present.all():
        lacking = ~present.all(dim=1)
        missing = [role for role, column in zip(roles, present.unbind(dim=1), strict=True) if not column.all()]
        raise ConfigError(
            f"The objective needs a {' and a '.join(map(repr, missing))} response in every row; lacking in rows "
            f"{row_numbers(batch.index[lacking])} of the data.",
            "Remove these rows, or use an objective that fits them.",
        )


def labels(batch: PreferenceBatch) -> tuple[Tensor, Tensor]:
    """Which cells are desirable and which are not, `(B, K)` bool each.

    A `candidate` says so by its score, 1.0 or 0.0; of a pair, the chosen is desirable and the rejected is not. Cells of
    other roles are neither.

    Raises:
        ConfigError: A candidate has another score or none, or a row has no labelled cell; it names the rows.
    """
    candidates = _cells(batch, CANDIDATE)
    unlabelled = candidates & (batch.scores != 1) & (batch.scores != 0)
    desirable = _cells(batch, CHOSEN) | (candidates & (batch.scores == 1))
    undesirable = _cells(batch, REJECTED) | (candidates & (batch.scores == 0))
    unusable = unlabelled.any(dim=1) | ~(desirable | undesirable).any(dim=1)
    if unusable.any():
        scores = batch.scores[unlabelled & ~batch.scores.isnan()]
        raise ConfigError(
            "The objective needs responses labelled 1 (desirable) or 0 (undesirable), or pairs; rows "
            f"{row_numbers(batch.index[unusable])} of the data have "
            f"{f'scores such as {scores[0]:g}' if len(scores) else 'no label'}.",
            "Use data with labels, or an objective for what the data says.",
        )
    return desirable, undesirable


def row_mean(values: Tensor, cells: Tensor) -> Tensor:
    """`(B,)`: the mean of `(B, K)` values over the cells of a row that a `(B, K)` bool picks; 0 where it picks none."""
    return torch.where(cells, values, 0).sum(dim=1) / cells.sum(dim=1).clamp(min=1)


def _cells(batch: PreferenceBatch, role: str) -> Tensor:
    columns = torch.tensor([name == role for name in batch.roles], device=batch.mask.device)
    return batch.mask & columns


def row_numbers(index: Tensor, most: int = 5) -> str:
    """Row numbers of the data for a message, the first few of many."""
    shown = ", ".join(str(number) for number in index[:most].tolist())
    return f"{shown} and {len(index) - most} more" if len(index) > most else shown
