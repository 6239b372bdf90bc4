"""A judge that hears which event a half of a sound is, and says how far sounds are from generated ones."""

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from modalign.core.frechet import frechet_distance
from modalign.core.keys import generator
from modalign.core.reward import Reward
from modalign.modalities.audio.pipelines.mel import Mel
from modalign.modalities.audio.quickstart.sounds import (
    CAPTIONS,
    EVENTS,
    ORDERS,
    RATE,
    SAMPLES,
    make_event,
    make_sound,
    reverse,
)
from modalign.modalities.audio.reading.reader import read_clip

MEL = Mel(rate=RATE, fft=1024, hop=512, window=1024, mels=16, high=RATE / 2, mean=-3.7, std=2.3)
"""What the model denoises; mean and standard deviation are those of the generated sounds, rounded."""

EXAMPLES = 64
REAL = 96
QUARTERS, BANDS = 4, 8
FLOOR = 0.02
"""Magnitudes far below it are barely heard, and hardly count."""

_MIDDLE = SAMPLES // MEL.hop // 2
_FIRST, _SECOND = slice(0, _MIDDLE - 1), slice(_MIDDLE + 1, None)
"""Frames of the halves, without those in which either event may sound."""


class OrderJudge(Reward):
    """1 where a sound's halves are the events that the prompt names, in its order; else 0."""

    name: ClassVar[str] = "order"
    modalities: ClassVar[frozenset[str]] = frozenset({"audio"})

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """See `Reward.score`; prompts are among `CAPTIONS`."""
        return self._share(prompts, candidates, turned=False)

    def swapped(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """`(N,)`: 1 where the events are those of the prompt, in the reverse order."""
        return self._share(prompts, candidates, turned=True)

    def distance(self, sounds: Sequence[Any]) -> float:
        """The Frechet distance of a policy's sounds to real ones, which are generated.

        Of log-mel spectrograms, averaged over quarters of the time and pairs of bands. The real sounds went through
        the same spectrograms and back, so that what this way itself loses is in both.
        """
        return frechet_distance(_features(spectrograms(sounds)), _real_features())

    def heard(self, sounds: Sequence[Any]) -> Tensor:
        """`(N, 2)`: the number of the event that the mean spectrum of each half is nearest to, by cosine."""
        levels = _levels(spectrograms(sounds))
        halves = torch.stack([levels[:, part].mean(1) for part in (_FIRST, _SECOND)], 1)
        return (normalize(halves, dim=-1) @ _centroids().T).argmax(-1)

    def _share(self, prompts: Sequence[str], candidates: Sequence[Any], turned: bool) -> Tensor:
        orders = [ORDERS[CAPTIONS.index(prompt)] for prompt in prompts]
        asked = torch.tensor([reverse(order) if turned else order for order in orders])
        return (self.heard(candidates) == asked).all(1).float()


@cache
def _centroids() -> Tensor:
    """`(events, bands)`: the mean spectrum of each event, of length 1."""
    draw = generator("examples of events")
    examples = [[make_event(number, SAMPLES, draw) for _ in range(EXAMPLES)] for number in range(len(EVENTS))]
    spectra = torch.stack([_levels(MEL.spectrogram(torch.stack(each))).mean(1) for each in examples])
    return normalize(normalize(spectra, dim=-1).mean(1), dim=-1)


@cache
def _real_features() -> Tensor:
    """Those of generated sounds."""
    draw = generator("real sounds")
    sounds = [make_sound(ORDERS[number % len(ORDERS)], draw) for number in range(REAL)]
    return _features(MEL.spectrogram(MEL.waveforms(spectrograms(sounds))))


def spectrograms(sounds: Sequence[Any]) -> Tensor:
    """`(N, frames, bands)` of sounds that are as long as the generated ones.

    Args:
        sounds: Each a `Clip` or the `Media` of a file.
    """
    return MEL.spectrogram(torch.stack([read_clip(sound).samples[0] for sound in sounds]))


def _levels(spectrogram: Tensor) -> Tensor:
    """Roots of magnitudes, so that loud frames and bands do not drown all others."""
    return ((spectrogram * MEL.std + MEL.mean) / 2).exp()


def _features(spectrogram: Tensor) -> Tensor:
    """`(N, QUARTERS * BANDS)` float64."""
    loud = (spectrogram.double() * MEL.std + MEL.mean).exp() + FLOOR
    frames, bands = loud.shape[1] // QUARTERS, loud.shape[2] // BANDS
    return loud.log().reshape(-1, QUARTERS, frames, BANDS, bands).mean((2, 4)).flatten(1)
