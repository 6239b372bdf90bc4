"""Asking a policy how likely it finds comparisons, and a reward how good it finds responses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.media import Media
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.core.reward import Reward
from modalign.modalities.modes import eval_mode

BATCH = 128


def logps(modality: Modality, model: nn.Module, comparisons: Sequence[Comparison]) -> Tensor:
    """`(N, K)` log-probabilities of the candidates of N comparisons with the same K roles."""
    parts = []
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(comparisons), BATCH):
            examples = [modality.encode(comparison) for comparison in comparisons[start : start + BATCH]]
            batch = modality.collate(examples, range(start, start + len(examples)))
            parts.append(modality.likelihood(model, batch, Needs()).logps)
    return torch.cat(parts)


def scores(reward: Reward, prompts: Sequence[Any], responses: Sequence[Sequence[Any]]) -> Tensor:
    """`(P, n)` rewards of n responses to each of P prompts."""
    repeated = [prompt for prompt, drawn in zip(prompts, responses, strict=True) for _ in drawn]
    flat = [response for drawn in responses for response in drawn]
    return reward.score(repeated, flat).view(len(prompts), -1)


def as_comparisons(pairs: Sequence[Mapping[str, str]], folder: Path) -> list[Comparison]:
    """Rows of pairs of files, whose paths start from `folder`, as the modality takes them."""
    return [
        Comparison(
            row["prompt"],
            (
                Candidate(Media(str(folder / row["chosen"])), CHOSEN),
                Candidate(Media(str(folder / row["rejected"])), REJECTED),
            ),
        )
        for row in pairs
    ]
