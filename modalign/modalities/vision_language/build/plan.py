"""What `modalign build realign` was asked for: its options, resolved and checked before anything is computed."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.core.modality import Modality
from modalign.modalities.vision_language.build.asking import Asking
from modalign.modalities.vision_language.build.demonstrations import Demonstrations, Survey
from modalign.modalities.vision_language.build.embedders import Embedder, open_embedder
from modalign.modalities.vision_language.build.text_similarity import TextSimilarity, open_text_similarity

Named = tuple[str, Mapping[str, Any]]
"""The name of a part, and its options."""


@dataclass(frozen=True)
class Plan:
    """Everything that the steps need.

    Attributes:
        folder: Where everything is written, absolute.
        options: Of the command line.
        modality: Of the policy.
        load: Makes the policy.
        policy_identity: What the policy is, as plain values.
        device: Where models run.
        embeds: What embeds images.
        compares: What compares responses.
        demonstrations: Whose responses are preferred.
        asking: How the policy is asked.
        sampling: Options of the modality.
        described: What decides the outcome beside the content of the demonstrations, as plain values by name.
    """

    folder: Path
    options: argparse.Namespace
    modality: Modality
    load: Callable[[], nn.Module]
    policy_identity: Mapping[str, Any]
    device: torch.device
    embeds: Named
    compares: Named
    demonstrations: Demonstrations
    asking: Asking
    sampling: Mapping[str, Any]
    described: Mapping[str, Any]

    @cached_property
    def policy(self) -> nn.Module:
        """The policy on its device, loaded when it is first asked for."""
        return self.load().to(self.device).eval()

    @property
    def embedder_identity(self) -> Mapping[str, Any]:
        """What decides an image's vector."""
        named = {name: value for name, value in self.described.items() if name.startswith("embedder")}
        return {**named, **self.policy_identity} if self.embeds[0] == "policy" else named

    def embedder(self) -> Embedder:
        """The embedder; its model is loaded when it is first used."""
        return open_embedder(*self.embeds, self.modality, lambda: self.policy, self.device)

    def text_similarity(self, survey: Survey) -> TextSimilarity:
        """What compares responses."""
        return open_text_similarity(*self.compares, survey.texts, self.device)

    def settings(self, survey: Survey) -> dict[str, Any]:
        """All that decides the outcome; a folder is only continued by the same."""
        return {"demonstrations": f"{len(survey.places)}, hash {survey.content}", **self.described}
