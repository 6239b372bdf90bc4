"""A modality that decodes sounds and does no more, for tests of formats and sources."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from modalign.core.batch import Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.modalities.audio.reading.reader import read_clip


class Hearing(Modality):
    """Its cells are the samples of the sounds."""

    name = "audio"

    def encode(self, comparison: Comparison) -> Example:
        clips = [read_clip(candidate.response) for candidate in comparison.candidates]
        cells = tuple((comparison.prompt, clip.rate, clip.samples) for clip in clips)
        return Example(comparison, cells, (1,) * len(cells))

    def load(self, model: str | None = None) -> nn.Module:
        raise NotImplementedError

    def collate_cells(self, cells: Sequence[Any]) -> dict[str, Any]:
        return {"cells": list(cells)}

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        raise NotImplementedError


class HearingTokens(Hearing):
    """The same under the name of the modality of codec tokens."""

    name = "audio_tokens"
