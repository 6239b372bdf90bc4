"""How likely a policy finds the candidates of some comparisons, outside training."""

from collections.abc import Sequence

import torch
from torch import nn

from modalign.core.batch import EVALUATION, Example, Likelihood
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs


@torch.no_grad()
def role_likelihoods(
    modality: Modality, model: nn.Module, examples: Sequence[Example], index: Sequence[int]
) -> list[dict[str, tuple[float, float]]]:
    """For each comparison, by role, the log-probability of the first candidate of that role, and its size.

    Args:
        modality: Of the policy.
        model: In evaluation mode.
        examples: At least one.
        index: Their numbers, which key what a likelihood draws.
    """
    batch = modality.collate(examples, index, EVALUATION).to(next(model.parameters()).device)
    likelihood: Likelihood = modality.likelihood(model, batch, Needs())
    logps, sizes = likelihood.logps.double().tolist(), likelihood.sizes.tolist()
    return [
        {
            role: (logps[row][column], sizes[row][column])
            for role in example.comparison.roles
            if batch.mask[row, column := batch.column(role)]
        }
        for row, example in enumerate(examples)
    ]
