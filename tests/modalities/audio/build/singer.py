"""A modality that sings captions, a pitch an event, a reward that hears them; and how to kill it while it sings."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor, nn

from modalign.core.errors import UserError, did_you_mean
from modalign.core.keys import generator
from modalign.core.reward import Reward
from modalign.modalities.audio.build.captions import Caption
from modalign.modalities.audio.clip import Clip
from tests.toy import Letters

RATE = 4000
EVENT = 400
"""Samples of an event."""

EVENTS = ("a dog", "rain", "a car", "birds", "a bell", "wind")
KILL_AFTER = "SINGER_KILL_AFTER"
"""Variable of the environment: after how many captions the process kills itself."""


class Singer(Letters):
    name = "singer"
    sung = 0

    def check_sampling(self, options: Any) -> None:
        for name in options:
            if name != "steps":
                raise UserError(f"Sampling has no option {name!r}.", did_you_mean(name, ["steps"]))

    def sample(self, model: nn.Module, prompts: Any, n: int = 1, seed: int = 0, **options: Any) -> list[list[Any]]:
        type(self).sung += len(prompts)
        if self.sung >= int(os.environ.get(KILL_AFTER, "1000000")):
            os.kill(os.getpid(), signal.SIGKILL)
        noise = 0.5 / options.get("steps", 1)
        return [[_sung(prompt, noise, generator(seed, prompt, draw)) for draw in range(n)] for prompt in prompts]

    def save(self, response: Clip, stem: Path) -> Path:
        path = stem.with_name(f"{stem.name}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, response.samples.T.numpy(), response.rate)
        return path


class Hears(Reward):
    """The share of samples, in order, that are what the prompt says, less some of the noise; `deaf` hears none."""

    name = "hears"
    modalities = frozenset({"singer"})

    def __init__(self, deaf: bool = False) -> None:
        self.deaf = deaf

    def check_prompts(self, prompts: Sequence[Any]) -> None:
        if "a ghost" in prompts:
            raise UserError("nobody hears a ghost")

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        if self.deaf:
            return torch.full((len(prompts),), torch.nan)
        return torch.tensor([_agreement(prompt, clip) for prompt, clip in zip(prompts, candidates, strict=True)])


def _agreement(prompt: str, clip: Clip) -> float:
    told = _pitches(prompt)
    heard = clip.samples[0].reshape(-1, EVENT)
    count = max(len(told), len(heard))
    return (
        sum(
            float(torch.dot(_tone(pitch), tone) / _tone(pitch).norm() / tone.norm())
            for pitch, tone in zip(told, heard, strict=False)
        )
        / count
    )


def _sung(caption: str, noise: float, source: torch.Generator) -> Clip:
    tones = torch.cat([_tone(pitch) for pitch in _pitches(caption)])
    level = noise * torch.rand(1, generator=source)
    return Clip((tones + level * torch.randn(tones.shape, generator=source))[None] / 4, RATE)


def _pitches(caption: str) -> list[int]:
    return [EVENTS.index(event) for event in Caption.of(caption).events]


def _tone(pitch: int) -> Tensor:
    return torch.sin(2 * torch.pi * (pitch + 1) * 10 * torch.arange(EVENT) / EVENT)
