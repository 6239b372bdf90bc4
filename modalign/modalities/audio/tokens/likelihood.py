"""Log-probabilities of codec tokens, from hidden states, in chunks of steps.

The logits of all steps are never held at once: the output heads run over some steps at a time, again in the backward
pass. The largest tensor over the vocabulary is `(chunk_size, codebooks, vocabulary)`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from modalign.core.batch import PreferenceBatch
from modalign.modalities.audio.tokens.family import TokenFamily
from modalign.modalities.modes import unwrapped

IGNORED = -100


def token_logps(
    family: TokenFamily, model: nn.Module, inputs: Mapping[str, Any], chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of what each step of each sound predicts, in float32, or float64 for a float64 model.

    Args:
        family: Of the model.
        model: The policy or a reference.
        inputs: `codes` `(N, T, K)`, `frames` `(N,)`, `whole` `(N,)`, `prompt_ids` and `prompt_mask` `(P, S)`,
            `prompt_index` `(N,)`.
        chunk_size: How many steps' logits are held at once.

    Returns:
        `(N, P, K)`, 0 where a token is none of the sound's own, and `(N, P, K)` bool, where it is.
    """
    inner = unwrapped(model)
    tokens, scored = family.pattern.delayed(inputs["codes"], inputs["frames"], inputs["whole"])
    heard = family.hear(inner, inputs["prompt_ids"], inputs["prompt_mask"]).rows(inputs["prompt_index"])
    hidden = family.hidden(inner, heard, tokens[:, :-1])
    targets, scored = tokens[:, 1:].masked_fill(~scored[:, 1:], IGNORED), scored[:, 1:]
    steps = scored.any(-1)
    logps = _in_chunks(family, inner, hidden[steps], targets[steps], chunk_size)
    grid = logps.new_zeros(scored.shape)
    return grid.masked_scatter(steps[..., None].expand_as(grid), logps), scored


def select_cells(inputs: Mapping[str, Any], keep: Tensor) -> dict[str, Any]:
    """The same for some of the cells."""
    chosen = {name: inputs[name][keep] for name in ("codes", "frames", "whole", "prompt_index")}
    longest = int(chosen["frames"].max())
    return {**inputs, **chosen, "codes": chosen["codes"][:, :longest]}


def token_logps_partly_free(
    family: TokenFamily, model: nn.Module, inputs: Mapping[str, Any], chunk_size: int, free: Tensor
) -> tuple[Tensor, Tensor]:
    """The same as `token_logps`, where some cells are wanted without gradient: those run in a forward of their own.

    Args:
        family: As for `token_logps`.
        model: As for `token_logps`.
        inputs: As for `token_logps`.
        chunk_size: As for `token_logps`.
        free: `(N,)` bool, the cells that need no gradient.
    """
    parts = []
    for keep, gradient in ((~free, torch.is_grad_enabled()), (free, False)):
        if keep.any():
            with torch.set_grad_enabled(gradient):
                logps, scored = token_logps(family, model, select_cells(inputs, keep), chunk_size)
                parts.append((keep.nonzero().squeeze(1), logps, scored))
    order = torch.cat([places for places, _, _ in parts]).argsort()
    width = max(logps.shape[1] for _, logps, _ in parts)
    together = [torch.cat([_widened(part[which], width) for part in parts])[order] for which in (1, 2)]
    return together[0], together[1]


def token_grid(logps: Tensor, scored: Tensor, batch: PreferenceBatch) -> tuple[Tensor, Tensor]:
    """`(B, K, T)` log-probabilities of scored tokens alone, step by step, and the mask of those that are there."""
    flat, mask = logps.flatten(1), scored.flatten(1)
    counts = mask.sum(1)
    there = torch.arange(int(counts.max()), device=mask.device) < counts[:, None]
    grid = flat.new_zeros(there.shape).masked_scatter(there, flat[mask])
    return batch.scatter(grid), batch.scatter(there)


def _widened(values: Tensor, width: int) -> Tensor:
    return nn.functional.pad(values, (0, 0, 0, width - values.shape[1]))


def _in_chunks(family: TokenFamily, model: Any, hidden: Tensor, targets: Tensor, chunk_size: int) -> Tensor:
    """`(M, K)` log-probabilities of the targets of M steps."""
    # Recomputing a chunk must repeat its dropout, which only an adapter on a head can have.
    heads = [module for name in family.heads for module in model.get_submodule(name).modules()]
    keep_random_state = any(isinstance(module, nn.Dropout) and module.p > 0 for module in heads)
    chunks = []
    for some_hidden, some_targets in zip(
        torch.split(hidden, chunk_size), torch.split(targets, chunk_size), strict=True
    ):
        if torch.is_grad_enabled():
            scores = checkpoint(
                _chunk_logps,
                family,
                model,
                some_hidden,
                some_targets,
                use_reentrant=False,
                preserve_rng_state=keep_random_state,
            )
        else:
            scores = _chunk_logps(family, model, some_hidden, some_targets)
        chunks.append(scores)
    return torch.cat(chunks)


def _chunk_logps(family: TokenFamily, model: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = family.logits(model, hidden)
    exact = logits if logits.dtype == torch.float64 else logits.float()
    return -cross_entropy(exact.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none").view_as(
        targets
    )
