"""Learning-rate schedules by optimiser step."""

import math
from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from modalign.core.errors import ConfigError


@dataclass
class Schedule:
    """Warm-up from 0, then constant, or a fall to `final` times the peak at the last step.

    Attributes:
        shape: What follows the warm-up.
        warmup_steps: Optimiser steps of linear warm-up.
        warmup_ratio: The same as a share of all steps; give one of the two.
        final: Where linear and cosine end, as a share of the peak.
    """

    shape: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: int = 0
    warmup_ratio: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup_steps and self.warmup_ratio:
            raise ConfigError(
                f"schedule.warmup_steps is {self.warmup_steps} and schedule.warmup_ratio is {self.warmup_ratio}.",
                "Give one of the two.",
            )
        if self.warmup_steps < 0 or not 0 <= self.warmup_ratio <= 1 or not 0 <= self.final <= 1:
            raise ConfigError(
                f"schedule: warmup_steps {self.warmup_steps}, warmup_ratio {self.warmup_ratio}, final {self.final}.",
                "Steps are at least 0, ratio and final lie between 0 and 1.",
            )

    @property
    def needs_length(self) -> bool:
        """Whether the number of steps must be known."""
        return self.shape != "constant" or self.warmup_ratio > 0

    def factor(self, step: int, steps: float) -> float:
        """The learning rate of optimiser step `step` (from 0) as a share of the peak, in a run of `steps`."""
        warmup = self.warmup_steps or (math.ceil(self.warmup_ratio * steps) if self.warmup_ratio else 0)
        if step < warmup:
            return step / warmup
        if self.shape == "constant":
            return 1.0
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        fall = 1 - progress if self.shape == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
        return self.final + (1 - self.final) * fall

    def build(self, optimizer: Optimizer, steps: float) -> LambdaLR:
        """The scheduler of a run of `steps` optimiser steps (infinite where nobody knows).

        Raises:
            ConfigError: The shape needs a length and there is none.
        """
        if self.needs_length and not math.isfinite(steps):
            raise ConfigError(
                f"A {self.shape} schedule needs to know how many steps the run takes, and the data is a stream.",
                "Set trainer.max_steps, or model.schedule.shape: constant with warmup_steps.",
            )
        return LambdaLR(optimizer, lambda step: self.factor(step, steps))
