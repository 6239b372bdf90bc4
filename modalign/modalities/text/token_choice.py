"""Which token comes next, by a uniform number that is given for each row and step."""

import torch
from torch import Tensor

from modalign.modalities.text.sampling_options import SamplingOptions


class KeyedChoice:
    """A logits processor that draws each row's next token itself and leaves no other possible.

    Args:
        draws: `(rows, steps)` uniform numbers in [0, 1).
        width: Length of the prompts, padding included.
        options: Temperature, top_p, top_k.
    """

    def __init__(self, draws: Tensor, width: int, options: SamplingOptions) -> None:
        self.draws = draws
        self.width = width
        self.options = options

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`(rows, V)` scores that are finite for one token a row."""
        draw = self.draws[:, input_ids.shape[1] - self.width, None]
        chosen = draw_tokens(scores.float() / self.options.temperature, draw, self.options)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


def draw_tokens(logits: Tensor, draw: Tensor, options: SamplingOptions) -> Tensor:
    """Invert the cumulative distribution of the tokens that top_k and top_p leave.

    In the vocabulary's order: sorted by probability, two tokens of nearly the same would swap places by a rounding.

    Args:
        logits: `(rows, V)`.
        draw: `(rows, 1)` uniform numbers in [0, 1).
        options: top_p and top_k.

    Returns:
        `(rows, 1)` tokens.
    """
    probabilities = logits.softmax(-1)
    if logits.device.type != "mps":  # which has no float64
        probabilities = probabilities.double()
    if options.top_k is not None and options.top_k < logits.shape[-1]:
        smallest = probabilities.topk(options.top_k).values[:, -1:]
        probabilities = probabilities.where(probabilities >= smallest, 0.0)
    if options.top_p is not None:
        probabilities = _nucleus(probabilities, options.top_p)
    cumulative = probabilities.cumsum(-1)
    place = torch.searchsorted(cumulative, draw.to(probabilities) * cumulative[:, -1:], right=True)
    # A product rounded up to the whole sum lies beyond the last token.
    return place.clamp(max=logits.shape[-1] - 1)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The probabilities, 0 outside the smallest set that holds `top_p` of their sum."""
    ranked = probabilities.sort(dim=-1, descending=True).values
    before = ranked.cumsum(-1) - ranked
    size = (before < top_p * ranked.sum(-1, keepdim=True)).sum(-1, keepdim=True)
    return probabilities.where(probabilities >= ranked.gather(1, size - 1), 0.0)
