"""What `modalign build tango2` was asked for: its options, resolved and checked before anything is computed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.core.content import content_hash
from modalign.core.modality import Modality
from modalign.core.reward import Reward
from modalign.modalities.audio.build.rewriting import Rewriter
from modalign.modalities.audio.build.selection import Strategy, Thresholds


@dataclass(frozen=True)
class Plan:
    """Everything that the steps need.

    Attributes:
        folder: Where everything is written, absolute.
        modality: Of the policy.
        load: Makes the policy.
        device: Where it runs.
        prompts: Captions.
        strategies: Where rejected sounds come from.
        samples: Sounds that are generated from a prompt itself, of each variation.
        variations: Options of the sampling, one mapping a variation; at least one, which may be empty.
        sampling: Options of the sampling that all share.
        rewrites: Other captions of a prompt, of each kind, at most.
        rewriter: Makes them.
        reward: Scores a sound under the prompt.
        scorer: What the reward is, in a word.
        thresholds: When two sounds make a pair.
        seed: Of everything that is drawn.
        described: What decides the outcome beside the prompts, as plain values by name.
    """

    folder: Path
    modality: Modality
    load: Callable[[], nn.Module]
    device: torch.device
    prompts: Sequence[str]
    strategies: Sequence[Strategy]
    samples: int
    variations: Sequence[Mapping[str, Any]]
    sampling: Mapping[str, Any]
    rewrites: int
    rewriter: Rewriter
    reward: Reward
    scorer: str
    thresholds: Thresholds
    seed: int
    described: Mapping[str, Any]

    @cached_property
    def policy(self) -> nn.Module:
        """The policy on its device, loaded when it is first asked for."""
        return self.load().to(self.device).eval()

    def settings(self) -> dict[str, Any]:
        """All that decides the outcome; a folder is only continued by the same."""
        return {"prompts": f"{len(self.prompts)}, hash {content_hash(list(self.prompts))}", **self.described}
