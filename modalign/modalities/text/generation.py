"""Sampling from a policy so that a prompt's responses do not depend on what else is in its batch.

transformers' `generate` runs the model and its cache. Which token comes next is decided here: row by row, by a uniform
number that is a function of (seed, prompt, draw, step) alone. Equal up to float rounding, which may tip a draw that
falls on the border between two tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError, did_you_mean
from modalign.core.keys import generator
from modalign.modalities.modes import eval_mode, unwrapped


@dataclass(frozen=True)
class SamplingOptions:
    """How responses are drawn.

    Args:
        max_new_tokens: The most tokens a response has.
        temperature: Divides the logits; 0 takes the likeliest token.
        top_p: Draw from the smallest set of tokens whose probabilities sum to this (Holtzman et al. 2020).
        top_k: Draw from so many of the likeliest tokens.
        batch_size: How many responses are generated at once.
    """

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float | None = None
    top_k: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        counts = ("max_new_tokens", "top_k", "batch_size")
        for name in counts:
            if not isinstance(getattr(self, name), int | None):
                raise UserError(f"Sampling: {name} is {getattr(self, name)!r}.", "Give a whole number.")
        problems = {
            "max_new_tokens must be at least 1": self.max_new_tokens < 1,
            "temperature must not be negative": self.temperature < 0,
            "top_p must be in (0, 1]": self.top_p is not None and not 0 < self.top_p <= 1,
            "top_k must be at least 1": self.top_k is not None and self.top_k < 1,
            "batch_size must be at least 1": self.batch_size < 1,
        }
        found = [problem for problem, holds in problems.items() if holds]
        if found:
            raise UserError(f"Sampling: {'; '.join(found)}.", f"The options were {self}.")


def sampling_options(options: Mapping[str, Any]) -> SamplingOptions:
    """The options by name.

    Raises:
        UserError: There is no such option, or one is out of its range.
    """
    known = [option.name for option in fields(SamplingOptions)]
    for name in options:
        if name not in known:
            raise UserError(f"Sampling has no option {name!r}.", did_you_mean(name, known).capitalize())
    return SamplingOptions(**options)


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    n: int,
    seed: int,
    pad: int,
    eos: int | None,
    options: SamplingOptions,
) -> list[list[list[int]]]:
    """`n` responses to each prompt, in tokens, without the token that ended them.

    Args:
        model: A causal language model, or a peft model around one.
        prompts: Tokens of each prompt; the same ones give the same responses.
        n: Responses a prompt.
        seed: Another seed, other responses.
        pad: Any token; shorter prompts are padded with it on the left.
        eos: A token that ends a response, beside those the model's generation config names.
        options: How tokens are drawn.

    Raises:
        UserError: `n` is not positive.
    """
    if n < 1:
        raise UserError(f"Sampling: n is {n}; it counts responses a prompt.", "Ask for at least 1.")
    causal = unwrapped(model)
    stop = _stop_tokens(causal, eos)
    jobs = [(prompt, draw) for prompt in prompts for draw in range(n)]
    # Prompts of like length together: less padding.
    order = sorted(range(len(jobs)), key=lambda job: len(jobs[job][0]))
    responses: list[list[int]] = [[] for _ in jobs]
    with eval_mode(model), _own_choices_only(causal), torch.no_grad():
        for start in range(0, len(order), options.batch_size):
            chosen = order[start : start + options.batch_size]
            drawn = _batch(causal, [jobs[job] for job in chosen], seed, pad, stop, options)
            for job, response in zip(chosen, drawn, strict=True):
                responses[job] = response
    return [responses[start : start + n] for start in range(0, len(jobs), n)]


def _batch(
    causal: Any,
    jobs: Sequence[tuple[Sequence[int], int]],
    seed: int,
    pad: int,
    stop: list[int],
    options: SamplingOptions,
) -> list[list[int]]:
    from transformers import GenerationConfig, LogitsProcessorList

    device = causal.get_input_embeddings().weight.device
    width = max(len(prompt) for prompt, _ in jobs)
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt, _ in jobs], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt, _ in jobs], device=device)
    processors = LogitsProcessorList()
    if options.temperature > 0:
        draws = torch.stack([_uniform(seed, prompt, draw, options.max_new_tokens) for prompt, draw in jobs])
        processors.append(KeyedChoice(draws, width, options))
    output = causal.generate(
        ids,
        attention_mask=mask,
        logits_processor=processors,
        generation_config=GenerationConfig(
            max_new_tokens=options.max_new_tokens,
            do_sample=False,
            use_cache=True,
            pad_token_id=pad,
            eos_token_id=stop or None,
        ),
    )
    return [_until(row, stop) for row in output[:, width:].tolist()]


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


@contextmanager
def _own_choices_only(causal: Any) -> Iterator[None]:
    """Hide the generation config, whose penalties and limits transformers would mix into ours."""
    from transformers import GenerationConfig

    kept = causal.generation_config
    causal.generation_config = GenerationConfig()
    try:
        yield
    finally:
        causal.generation_config = kept


def _stop_tokens(causal: Any, eos: int | None) -> list[int]:
    named = causal.generation_config.eos_token_id
    stop = {named} if isinstance(named, int) else set(named or ())
    return sorted(stop if eos is None else stop | {eos})


def _uniform(seed: int, prompt: Sequence[int], draw: int, steps: int) -> Tensor:
    key = ",".join(map(str, prompt))
    return torch.rand(steps, generator=generator(seed, "sample", key, draw), dtype=torch.float64)


def _until(tokens: list[int], stop: list[int]) -> list[int]:
    end = next((n for n, token in enumerate(tokens) if token in stop), len(tokens))
    return tokens[:end]
