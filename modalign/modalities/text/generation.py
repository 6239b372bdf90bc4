"""Sampling from a policy so that a prompt's responses do not depend on what else is in its batch.

transformers' `generate` runs the model and its cache. Which token comes next is decided here: row by row, by a uniform
number that is a function of (seed, prompt, draw, step) alone. Equal up to float rounding, which may tip a draw that
falls on the border between two tokens.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.modalities.modes import eval_mode, unwrapped, weights_dtype
from modalign.modalities.text.sampling_options import SamplingOptions
from modalign.modalities.text.token_choice import KeyedChoice


@dataclass(frozen=True)
class Prompted:
    """A prompt to generate from.

    Attributes:
        ids: Its tokens.
        key: What its draws depend on beside the seed: equal prompts have equal keys.
        content: What else there is to it, for the function that lays prompts out.
    """

    ids: Sequence[int]
    key: str
    content: Any = None


Inputs = Mapping[str, Tensor]
"""What a model's `generate` takes, `input_ids` and `attention_mask` among it; prompts end in the last column."""

LayOut = Callable[[Sequence[Prompted]], Iterable[tuple[Sequence[int], Inputs]]]
"""Makes inputs of some prompts: one batch, or several, each with the places of its prompts among those given."""


@dataclass(frozen=True)
class Special:
    """The tokens that are not words.

    Attributes:
        pad: Any token; what has ended is filled up with it.
        stop: Those that end a response.
        never: Those that no response may hold.
    """

    pad: int
    stop: Sequence[int] = ()
    never: Sequence[int] = ()


def text_prompt(ids: Sequence[int]) -> Prompted:
    """A prompt of tokens alone."""
    return Prompted(ids, ",".join(map(str, ids)))


def left_padded(prompts: Sequence[Prompted], pad: int) -> list[tuple[Sequence[int], Inputs]]:
    """Prompts of tokens alone in one batch."""
    width = max(len(prompt.ids) for prompt in prompts)
    ids = torch.tensor([[pad] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts])
    return [(range(len(prompts)), {"input_ids": ids, "attention_mask": mask})]


def generate(
    model: nn.Module,
    prompts: Sequence[Prompted],
    n: int,
    seed: int,
    special: Special,
    options: SamplingOptions,
    lay_out: LayOut,
) -> list[list[list[int]]]:
    """`n` responses to each prompt, in tokens, without the token that ended them.

    Args:
        model: A generative transformers model, or a peft model around one.
        prompts: The same one gives the same responses.
        n: Responses a prompt.
        seed: Another seed, other responses.
        special: Which tokens pad, end a response, or are never drawn.
        options: How tokens are drawn.
        lay_out: Makes batches.

    Raises:
        UserError: `n` is not positive.
    """
    if n < 1:
        raise UserError(f"Sampling: n is {n}; it counts responses a prompt.", "Ask for at least 1.")
    causal = unwrapped(model)
    jobs = [(prompt, draw) for prompt in prompts for draw in range(n)]
    # Prompts of like length together: less padding.
    order = sorted(range(len(jobs)), key=lambda job: len(jobs[job][0].ids))
    responses: list[list[int]] = [[] for _ in jobs]
    with eval_mode(model), _own_choices_only(causal), torch.no_grad():
        for start in range(0, len(order), options.batch_size):
            chosen = order[start : start + options.batch_size]
            for places, inputs in lay_out([jobs[job][0] for job in chosen]):
                batch = [chosen[place] for place in places]
                drawn = _continued(causal, inputs, [jobs[job] for job in batch], seed, special, options)
                for job, response in zip(batch, drawn, strict=True):
                    responses[job] = response
    return [responses[start : start + n] for start in range(0, len(jobs), n)]


def stop_tokens(model: nn.Module, eos: int | None) -> list[int]:
    """The tokens that end a response: those the model's generation config names, and `eos`."""
    named = unwrapped(model).generation_config.eos_token_id
    stop = {named} if isinstance(named, int) else set(named or ())
    return sorted(stop if eos is None else stop | {eos})


def _continued(
    causal: Any,
    inputs: Inputs,
    jobs: Sequence[tuple[Prompted, int]],
    seed: int,
    special: Special,
    options: SamplingOptions,
) -> list[list[int]]:
    from transformers import GenerationConfig, LogitsProcessorList

    device, dtype = causal.get_input_embeddings().weight.device, weights_dtype(causal)
    width = inputs["input_ids"].shape[1]
    processors = LogitsProcessorList()
    if options.temperature > 0:
        draws = torch.stack([_uniform(seed, prompt.key, draw, options.max_new_tokens) for prompt, draw in jobs])
        processors.append(KeyedChoice(draws.to(device), width, options))
    output = causal.generate(
        **{name: v.to(device, dtype if v.is_floating_point() else v.dtype) for name, v in inputs.items()},
        logits_processor=processors,
        generation_config=GenerationConfig(
            max_new_tokens=options.max_new_tokens,
            do_sample=False,
            use_cache=True,
            pad_token_id=special.pad,
            eos_token_id=list(special.stop) or None,
            suppress_tokens=list(special.never) or None,
        ),
    )
    return [_until(row, special.stop) for row in output[:, width:].tolist()]


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


def _uniform(seed: int, key: str, draw: int, steps: int) -> Tensor:
    return torch.rand(steps, generator=generator(seed, "sample", key, draw), dtype=torch.float64)


def _until(tokens: list[int], stop: Sequence[int]) -> list[int]:
    end = next((n for n, token in enumerate(tokens) if token in stop), len(tokens))
    return tokens[:end]
