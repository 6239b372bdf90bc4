"""Running prompts of equal lengths together, for networks that are told of no padding and would mix it in."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from modalign.modalities.diffusion.family import Conditioning


def by_length(lengths: Sequence[int], run: Callable[[list[int]], Tensor]) -> Tensor:
    """What is made of N prompts, those of each length by themselves.

    Args:
        lengths: Of each prompt, in tokens.
        run: From the places of prompts of one length to what is made of them, `(places, ...)`.

    Returns:
        `(N, ...)`, in the order of `lengths`.
    """
    made, order = list[Tensor](), list[int]()
    for length in sorted(set(lengths)):
        places = [place for place, other in enumerate(lengths) if other == length]
        made.append(run(places))
        order += places
    together = torch.cat(made)
    return together[torch.tensor(order, device=together.device).argsort()]


def by_prompt_length(text: Conditioning, run: Callable[[list[int], Tensor], Tensor]) -> Tensor:
    """What a network makes of N encoded prompts, those of each length by themselves.

    Args:
        text: `prompt_embeds` `(N, T, C)` and `prompt_mask` `(N, T)`, which fills up at the end.
        run: From the places of prompts of one length, and their `(places, tokens, C)` without what fills them up, to
            what is made of them, `(places, ...)`.

    Returns:
        `(N, ...)`, in the order of `text`.
    """
    lengths = text["prompt_mask"].sum(1).tolist()
    return by_length(lengths, lambda places: run(places, text["prompt_embeds"][places, : lengths[places[0]]]))
