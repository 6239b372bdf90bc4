"""Sampling codec tokens so that a clip does not depend on what else is in its batch.

Which token comes next is decided codebook by codebook, by a uniform number that is a function of (seed, prompt, draw,
step, codebook) alone. transformers' own `generate` draws from the global generator, and takes no choice of ours where
it guides (MusicGen) or at all (Dia); what it computes from the same choices, this does too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError, did_you_mean
from modalign.core.keys import generator
from modalign.modalities.audio.tokens.delays import DelayPattern
from modalign.modalities.audio.tokens.family import Heard, TokenFamily, padded
from modalign.modalities.diffusion.sampling import is_number
from modalign.modalities.modes import eval_mode, unwrapped
from modalign.modalities.text.sampling_options import SamplingOptions
from modalign.modalities.text.token_choice import draw_tokens


@dataclass(frozen=True)
class TokenSamplingOptions:
    """How clips are drawn.

    Args:
        seconds: How long each is, or at most, where the model says itself when a sound ends; None for the modality's
            `seconds`, or else for what the model's generation config says.
        guidance_scale: How far to follow the prompt (Ho and Salimans 2022, arXiv 2207.12598); 1 is without guidance,
            None the model's own.
        temperature: Divides the logits; 0 takes the likeliest token.
        top_k: Draw from so many of the likeliest tokens; MusicGen's authors use 250.
        top_p: Draw from the smallest set of tokens whose probabilities sum to this.
        batch_size: How many clips are made at once.
    """

    seconds: float | None = None
    guidance_scale: float | None = None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    batch_size: int = 4

    def __post_init__(self) -> None:
        for name, least in (("seconds", 0.0), ("guidance_scale", 1.0), ("temperature", 0.0)):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and least <= value < float("inf")):
                raise UserError(f"Sampling: {name} is {value!r}.", f"Give a number, at least {least:g}.")
        if self.seconds == 0:
            raise UserError("Sampling: seconds is 0.", "Give a number above 0.")
        if self.top_p is not None and not is_number(self.top_p):
            raise UserError(f"Sampling: top_p is {self.top_p!r}.", "Give a number from 0 to 1.")
        self.choice  # noqa: B018 - its own checks

    @property
    def choice(self) -> SamplingOptions:
        """The options that choose among tokens."""
        return SamplingOptions(
            temperature=self.temperature, top_p=self.top_p, top_k=self.top_k, batch_size=self.batch_size
        )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "TokenSamplingOptions":
        """The options by name.

        Raises:
            UserError: There is no such option, or one is out of its range.
        """
        known = [option.name for option in fields(cls)]
        for name in options:
            if name not in known:
                raise UserError(f"Sampling has no option {name!r}.", did_you_mean(name, known).capitalize())
        return cls(**options)


@dataclass(frozen=True)
class Job:
    """One clip to draw.

    Attributes:
        prompt: Its text.
        ids: Its tokens.
        draw: Its number among those of its prompt.
    """

    prompt: str
    ids: Sequence[int]
    draw: int


def drawn_codes(
    family: TokenFamily,
    model: nn.Module,
    jobs: Sequence[Job],
    seed: int,
    frames: int,
    guidance: float,
    options: TokenSamplingOptions,
) -> list[Tensor]:
    """`(T, K)` codes of each clip, T at least 1 and at most `frames`.

    Args:
        family: Of the model.
        model: A policy; its modes are as before afterwards.
        jobs: What to draw.
        seed: Another seed, other clips.
        frames: T, or the most there may be where the model says itself when a sound ends.
        guidance: 1 for none.
        options: How tokens are drawn.
    """
    device = next(model.parameters()).device
    found: list[Tensor] = []
    with eval_mode(model), torch.no_grad(), torch.autocast(device.type, enabled=False):
        for start in range(0, len(jobs), options.batch_size):
            chosen = jobs[start : start + options.batch_size]
            sequences, counts = _drawn(family, model, chosen, seed, frames, guidance, options)
            found += [
                family.pattern.frames_of(sequence, count)
                for sequence, count in zip(sequences, counts.tolist(), strict=True)
            ]
    return found


def _drawn(
    family: TokenFamily,
    model: nn.Module,
    jobs: Sequence[Job],
    seed: int,
    frames: int,
    guidance: float,
    options: TokenSamplingOptions,
) -> tuple[Tensor, Tensor]:
    """`(N, P, K)` sequences, and the frames of each."""
    from transformers import DynamicCache, EncoderDecoderCache

    inner, pattern = unwrapped(model), family.pattern
    device = next(model.parameters()).device
    ids, mask = (tensor.to(device) for tensor in padded([job.ids for job in jobs]))
    heard, guided = family.hear(inner, ids, mask), guidance != 1
    if guided:
        heard = _both(heard, family.unheard(inner, ids, mask))
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    steps = frames + pattern.tail - 1
    uniform = torch.stack([_uniform(seed, job, steps, pattern.codebooks) for job in jobs]).to(device)
    tokens = torch.full((len(jobs), 1, pattern.codebooks), pattern.before, device=device)
    counts = torch.full((len(jobs),), frames, device=device)
    for step in range(steps):
        last = tokens[:, -1:]
        hidden = family.hidden(inner, heard, torch.cat([last, last]) if guided else last, cache)[:, -1]
        logits = family.logits(inner, hidden).float()
        if guided:
            logits = family.guided(logits[: len(jobs)], logits[len(jobs) :], guidance, options.top_k)
        if step == 0 and pattern.end is not None:  # a clip has a frame
            logits[:, 0, pattern.end] = -torch.inf
        drawn = _chosen(family.allowed(logits), uniform[:, step], options)
        if pattern.end is not None:
            counts = torch.where((drawn[:, 0] == pattern.end) & (step < counts), step, counts)
        tokens = torch.cat([tokens, _placed(pattern, drawn, counts, step)[:, None]], dim=1)
        if bool((step + 2 >= counts + pattern.tail).all()):
            break
    return tokens, counts


def _both(heard: Heard, unheard: Heard) -> Heard:
    return Heard(torch.cat([heard.states, unheard.states]), torch.cat([heard.mask, unheard.mask]))


def _chosen(logits: Tensor, draw: Tensor, options: TokenSamplingOptions) -> Tensor:
    """`(N, K)` tokens of `(N, K, V)` logits and `(N, K)` uniform numbers."""
    if options.temperature == 0:
        return logits.argmax(-1)
    flat = logits.flatten(0, 1) / options.temperature
    return draw_tokens(flat, draw.flatten()[:, None], options.choice).view_as(draw)


def _placed(pattern: DelayPattern, drawn: Tensor, counts: Tensor, step: int) -> Tensor:
    """`(N, K)` tokens of the next step: those drawn, where a codebook has begun and not ended."""
    frame = step - torch.tensor(pattern.delays, device=drawn.device)
    count = counts[:, None]
    after = torch.full_like(drawn, pattern.after)
    if pattern.end is not None:
        after = after.where(frame != count, pattern.end)
    return torch.where(frame < 0, pattern.before, torch.where(frame < count, drawn, after))


def _uniform(seed: int, job: Job, steps: int, codebooks: int) -> Tensor:
    source = generator(seed, "sample", job.prompt, job.draw)
    return torch.rand(steps, codebooks, generator=source, dtype=torch.float64)
