"""How likely a model that sees or hears finds responses to prompts with media."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.batch import CHOSEN, OTHER_IMAGE, Likelihood, PreferenceBatch, under
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Needs
from modalign.modalities.modes import unwrapped
from modalign.modalities.text.corrected_tokens import PROVIDES, corrected_sums
from modalign.modalities.text.logprobs import completion_logps, joined, likeliest_tokens, token_grid
from modalign.modalities.text.model_checks import check_positions
from modalign.modalities.vision_language.collation import select_cells
from modalign.modalities.vision_language.towers import forwards, with_features

MISLED = "misled_logps"
"""`(B, K)`, in the column of the chosen: the log-probability, under the row's own image, of the tokens that the model
finds likeliest in each place of the chosen response under the other one; 0 in other columns (POVID)."""


def media_text_likelihood(
    model: nn.Module, batch: PreferenceBatch, needs: Needs, chunk_size: int, contrast: str = OTHER_IMAGE
) -> Likelihood:
    """The summed log-probabilities of completion tokens, each distinct set of media encoded once.

    Args:
        model: A transformers model of media and text, or a peft model around one.
        batch: As `collation` lays its inputs out.
        needs: Of its extra quantities, `misled_logps` is computed here, and those of corrected tokens as for text.
        chunk_size: How many tokens' logits are held at once.
        contrast: The context that misleads the model.

    Raises:
        ConfigError: A sequence is longer than the model takes, or `needs` asks for cells that the batch has not.
    """
    causal = unwrapped(model)
    check_positions(causal, batch.inputs["longest"], "A sequence")
    inputs = with_features(causal, batch.inputs)
    scored = _with_misled(causal, inputs, batch, chunk_size, contrast) if MISLED in needs.extra else inputs
    free = batch.cells_of(needs.no_grad_roles)
    logps = _logps(causal, scored, chunk_size, free)
    own, misled = logps[: len(inputs["cells"])], logps[len(inputs["cells"]) :]
    likelihood = Likelihood(_summed(own, inputs["cells"], batch), batch.sizes)
    if MISLED in needs.extra:
        likelihood.extra[MISLED] = _summed(misled, scored["cells"][len(own) :], batch)
    if needs.extra & PROVIDES:
        likelihood.extra.update(corrected_sums(own, batch))
    if needs.token_logps:
        likelihood.token_logps, likelihood.token_mask = token_grid(own, batch)
    return likelihood


def _logps(causal: Any, inputs: dict[str, Any], chunk_size: int, free: Tensor) -> Tensor:
    """`(M,)` log-probabilities of the scored tokens; those of the free cells, `(N,)` bool, without gradient."""
    if not torch.is_grad_enabled() or not free.any():
        return _over_forwards(causal, inputs, chunk_size, completion_logps)
    parts = []
    for keep, gradient in ((~free, True), (free, False)):
        if keep.any():
            with torch.set_grad_enabled(gradient):
                some = select_cells(inputs, keep)
                parts.append((keep, _over_forwards(causal, some, chunk_size, completion_logps)))
    return joined(parts, inputs)


def _over_forwards(causal: Any, inputs: dict[str, Any], chunk_size: int, compute: Callable[..., Tensor]) -> Tensor:
    """`(M,)`: what `compute` makes of the scored tokens of each forward's cells."""
    parts = [(keep, compute(causal, some, chunk_size, arguments)) for keep, some, arguments in forwards(causal, inputs)]
    return joined(parts, inputs)


def _with_misled(
    causal: Any, inputs: dict[str, Any], batch: PreferenceBatch, chunk_size: int, contrast: str
) -> dict[str, Any]:
    """The same inputs, in which the chosen cells' places are scored a second time: for what misled the model."""
    there = under(CHOSEN, contrast)
    chosen, elsewhere = (batch.cells_of(frozenset({role})) for role in (CHOSEN, there))
    if not elsewhere.any():
        raise ConfigError(
            f"{MISLED} are computed from cells of the role {there!r}, and the batch has none.",
            f"Add {there!r} to the objective's extra_roles.",
        )
    some = select_cells(inputs, elsewhere)
    likeliest = _over_forwards(causal, some, chunk_size, likeliest_tokens)
    rows = batch.mask.nonzero()[:, 0]
    grid = likeliest.new_full((len(batch), int(inputs["offsets"].max()) + 1), -1)
    grid[rows[elsewhere][some["cells"]], some["offsets"]] = likeliest
    found = grid[rows[inputs["cells"]], inputs["offsets"]]
    again = chosen[inputs["cells"]] & (found >= 0)
    return {
        **{name: value for name, value in inputs.items() if name != "corrected"},  # said of the first scoring alone
        **{name: torch.cat([inputs[name], inputs[name][again]]) for name in ("predictors", "cells", "offsets")},
        "targets": torch.cat([inputs["targets"], found[again]]),
    }


def _summed(logps: Tensor, cells: Tensor, batch: PreferenceBatch) -> Tensor:
    """`(B, K)` sums of the tokens' log-probabilities."""
    return batch.scatter(logps.new_zeros(int(batch.mask.sum())).index_add(0, cells, logps))
