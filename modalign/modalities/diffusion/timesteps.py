"""Where between clean data and noise a likelihood looks."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from modalign.core.errors import ConfigError, did_you_mean

Distribution = Literal["uniform", "logit_normal", "fixed"]


@dataclass(frozen=True)
class Timesteps:
    """How a row's position between clean data and noise is drawn.

    Args:
        distribution: `uniform` over all time steps, `logit_normal` (the sigmoid of a normal; SD3, FLUX), or `fixed`:
            one of `values` (a turbo model's few), each as likely.
        mean: Of the normal of `logit_normal`; above 0 looks more often at noise.
        std: Of the normal of `logit_normal`, above 0.
        values: The time steps of `fixed`, as numbers from 0 (cleanest) to the model's number of time steps minus 1. A
            flow's time step i has the noise level (i + 1) / T before its shift; in continuous time there are 1,000, and
            step i is at (i + 1/2) / 1,000.
        low: Where `uniform` begins, as a share of the way from clean data (0) to noise (1).
        high: Where `uniform` ends.

    Raises:
        ConfigError: A value is out of range, or belongs to another distribution.
    """

    distribution: Distribution = "uniform"
    mean: float = 0.0
    std: float = 1.0
    values: list[int] | None = None
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        names = get_args(Distribution)
        if self.distribution not in names:
            raise ConfigError(
                f"timesteps.distribution is {self.distribution!r}.", did_you_mean(str(self.distribution), names)
            )
        self._refuse_strangers()
        if self.distribution == "fixed" and not self.values:
            raise ConfigError("timesteps.distribution is fixed, without values.", "Give timesteps.values.")
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ConfigError(
                f"timesteps.mean is {self.mean}, timesteps.std {self.std}.",
                "Give a finite mean, and a finite standard deviation above 0.",
            )
        if not 0 <= self.low < self.high <= 1:
            raise ConfigError(f"timesteps.low is {self.low}, timesteps.high {self.high}.", "Give 0 <= low < high <= 1.")

    def _refuse_strangers(self) -> None:
        """Options that this distribution would ignore."""
        own = {"uniform": ("low", "high"), "logit_normal": ("mean", "std"), "fixed": ("values",)}
        for distribution, options in own.items():
            for option in options:
                default = type(self).__dataclass_fields__[option].default
                if distribution != self.distribution and getattr(self, option) != default:
                    raise ConfigError(
                        f"timesteps.{option} belongs to the distribution {distribution}, and the distribution is "
                        f"{self.distribution}.",
                        f"Set timesteps.distribution: {distribution}, or leave {option} out.",
                    )

    def check(self, count: int) -> None:
        """Make sure that a noise process of `count` time steps has all of them.

        Raises:
            ConfigError: It has not.
        """
        strangers = [value for value in self.values or () if not 0 <= value < count]
        if strangers:
            raise ConfigError(
                f"timesteps.values has {', '.join(map(str, strangers))}, and the model was trained with {count} time "
                "steps.",
                f"Give numbers from 0 to {count - 1}.",
            )

    def position(self, draw: torch.Generator, count: int) -> float:
        """One position in [0, 1), for a noise process of `count` time steps.

        Raises:
            ConfigError: The process has no such time steps.
        """
        if self.values:
            self.check(count)
            value = self.values[int(torch.randint(len(self.values), (), generator=draw))]
            return (value + 0.5) / count
        if self.distribution == "logit_normal":
            normal = torch.randn((), generator=draw, dtype=torch.float64)
            return float(torch.sigmoid(self.mean + self.std * normal))
        share = float(torch.rand((), generator=draw, dtype=torch.float64))
        return self.low + (self.high - self.low) * share
