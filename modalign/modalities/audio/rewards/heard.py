"""What the rewards of sounds share: responses become samples, and a sound that cannot be judged has a fixed score."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalign.core.reward import Reward
from modalign.modalities.audio.clip import Clip

Samples = NDArray[np.float64]
"""`(frames,)` or `(channels, frames)`; full scale is 1."""


class SoundReward(Reward):
    """Judges each sound by itself.

    A sound without samples, or with one that is not finite, is not judged: it has the score `unheard`. A file that
    is no sound is refused by its row, as everywhere.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"audio", "audio_tokens"})

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N sounds.

        Args:
            prompts: N contexts; most of these rewards do not read them.
            candidates: N sounds, `Media` or `Clip`.

        Returns:
            `(N,)` float32, finite, on the CPU.

        Raises:
            RowError: A file cannot be read as a sound.
        """
        scores = [self._scored(prompt, heard(each)) for prompt, each in zip(prompts, candidates, strict=True)]
        return torch.tensor(scores, dtype=torch.float32)

    def _scored(self, prompt: Any, clip: Clip | None) -> float:
        return self.unheard(prompt) if clip is None else self.judge(prompt, clip)

    @abstractmethod
    def judge(self, prompt: Any, clip: Clip) -> float:
        """The score of a sound with finite samples, at least one."""

    @abstractmethod
    def unheard(self, prompt: Any) -> float:
        """The score of a sound that has no samples, or has some that are not finite: the worst there is."""


def heard(response: Any) -> Clip | None:
    """The samples of a response, on the CPU; None where it has none, or has some that are not finite.

    Raises:
        RowError: A file cannot be read as a sound.
    """
    if not isinstance(response, Clip):
        from modalign.modalities.audio.reading.reader import read_clip

        response = read_clip(response)
    samples = response.samples.detach().cpu()
    return Clip(samples, response.rate) if samples.numel() and bool(torch.isfinite(samples).all()) else None


def channels_of(clip: Clip) -> Samples:
    """`(channels, frames)` in float64, in which no square of a float32 overflows."""
    samples: Samples = clip.samples.to(torch.float64).numpy()
    return samples


def mono(clip: Clip) -> Samples:
    """`(frames,)`: the mean of the channels."""
    samples: Samples = channels_of(clip).mean(axis=0)
    return samples
