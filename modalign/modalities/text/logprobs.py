"""Log-probabilities of completion tokens, from hidden states, in chunks.

The logits of a prompt are never computed, and those of the completions never all at once: hidden states are gathered at
the positions that predict a scored token, and the output head runs over a chunk of them at a time, again in the
backward pass. The largest tensor over the vocabulary is `(chunk_size, vocabulary)`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from modalign.core.batch import PreferenceBatch
from modalign.modalities.modes import unwrapped
from modalign.modalities.text.attention_masks import model_inputs
from modalign.modalities.text.collation import select_cells
from modalign.modalities.text.output_head import head_logits, output_head
from modalign.modalities.text.verification import check_layout, head_is_known

Score = Callable[[Tensor, Tensor], Tensor]
"""From `(C, V)` logits and `(C,)` targets to `(C,)` values."""


def completion_logps(
    model: nn.Module, inputs: dict[str, Any], chunk_size: int, arguments: Mapping[str, Any] | None = None
) -> Tensor:
    """`(M,)` log-probabilities of the scored tokens, in float32, or in float64 for a float64 model.

    Args:
        model: A causal language model, or a peft model around one.
        inputs: As `collation` lays them out.
        chunk_size: How many tokens' logits are held at once.
        arguments: What the model is called with, where that is more than tokens, their mask and their positions.

    Raises:
        ConfigError: The model cannot run the layout.
    """
    return _scores(model, inputs, chunk_size, arguments, _logps_of)


@torch.no_grad()
def likeliest_tokens(
    model: nn.Module, inputs: dict[str, Any], chunk_size: int, arguments: Mapping[str, Any] | None = None
) -> Tensor:
    """`(M,)` tokens that the model finds likeliest in the places of the scored ones; see `completion_logps`."""
    return _scores(model, inputs, chunk_size, arguments, lambda logits, _targets: logits.argmax(-1))


def completion_logps_partly_free(model: nn.Module, inputs: dict[str, Any], chunk_size: int, free: Tensor) -> Tensor:
    """The same, where some cells are wanted without gradient: those run in a forward of their own.

    Args:
        model: As for `completion_logps`.
        inputs: As for `completion_logps`.
        chunk_size: As for `completion_logps`.
        free: `(N,)` bool, the cells that need no gradient.
    """
    parts = []
    for keep, gradient in ((~free, torch.is_grad_enabled()), (free, False)):
        if keep.any():
            with torch.set_grad_enabled(gradient):
                parts.append((keep, completion_logps(model, select_cells(inputs, keep), chunk_size)))
    return joined(parts, inputs)


def joined(parts: Sequence[tuple[Tensor, Tensor]], inputs: dict[str, Any]) -> Tensor:
    """`(M,)` values of all scored tokens, from those of some cells and those of others.

    Args:
        parts: `(N,)` bool, a choice of cells, and the values of their tokens; every cell is in one choice.
        inputs: As collated, of all cells.
    """
    places = [keep[inputs["cells"]].nonzero().squeeze(1) for keep, _ in parts]
    return torch.cat([values for _, values in parts])[torch.cat(places).argsort()]


def token_grid(logps: Tensor, batch: PreferenceBatch) -> tuple[Tensor, Tensor]:
    """`(B, K, T)` log-probabilities and the mask of those that count, T the most scored tokens of a cell."""
    cells, offsets = batch.inputs["cells"], batch.inputs["offsets"]
    grid = logps.new_zeros(int(batch.mask.sum()), int(offsets.max()) + 1)
    mask = torch.zeros_like(grid, dtype=torch.bool)
    filled = grid.index_put((cells, offsets), logps), mask.index_put((cells, offsets), torch.ones_like(logps).bool())
    return batch.scatter(filled[0]), batch.scatter(filled[1])


def _scores(
    model: nn.Module, inputs: dict[str, Any], chunk_size: int, arguments: Mapping[str, Any] | None, score: Score
) -> Tensor:
    """`(M,)`: what `score` makes of the logits at the scored tokens."""
    causal = unwrapped(model)
    check_layout(causal, inputs)
    arguments = model_inputs(causal, inputs) if arguments is None else arguments
    if not head_is_known(causal):
        return score(_logits_from_forward(causal, inputs, arguments), inputs["targets"])
    hidden = causal.base_model(**arguments, use_cache=False)[0]
    hidden = hidden.flatten(0, 1)[inputs["predictors"]]
    # Recomputing a chunk must repeat its dropout, which only an adapter on the head can have.
    keep_random_state = any(isinstance(module, nn.Dropout) and module.p > 0 for module in output_head(causal).modules())
    chunks = []
    for some_hidden, some_targets in zip(hidden.split(chunk_size), inputs["targets"].split(chunk_size), strict=True):
        if torch.is_grad_enabled():
            scores = checkpoint(
                _chunk_scores,
                causal,
                some_hidden,
                some_targets,
                score,
                use_reentrant=False,
                preserve_rng_state=keep_random_state,
            )
        else:
            scores = _chunk_scores(causal, some_hidden, some_targets, score)
        chunks.append(scores)
    return torch.cat(chunks)


def _chunk_scores(causal: Any, hidden: Tensor, targets: Tensor, score: Score) -> Tensor:
    return score(head_logits(causal, hidden), targets)


def _logps_of(logits: Tensor, targets: Tensor) -> Tensor:
    exact = logits if logits.dtype == torch.float64 else logits.float()
    return -cross_entropy(exact, targets, reduction="none")


def _logits_from_forward(causal: Any, inputs: dict[str, Any], arguments: Mapping[str, Any]) -> Tensor:
    """For models whose way from hidden states to logits is not known: the model's own forward.

    Holds the logits of every position in which some row has a scored token.
    """
    width = inputs["input_ids"].shape[1]
    rows, columns = inputs["predictors"] // width, inputs["predictors"] % width
    wanted, place = columns.unique(return_inverse=True)
    logits: Tensor = causal(**arguments, use_cache=False, logits_to_keep=wanted).logits
    # A model that does not know `logits_to_keep` returns all positions.
    place = place if logits.shape[1] == len(wanted) else columns
    return logits[rows, place]
