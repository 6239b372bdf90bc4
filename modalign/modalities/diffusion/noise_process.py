"""How clean data is corrupted, and what the network is asked to predict of it.

A `position` in [0, 1) orders the corruption of one model from cleanest to noisiest; each process maps it to its own
time, which need be neither an integer nor 0 where the data is clean. At any time
`noisy = signal * clean + noise_level * noise`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from modalign.core.errors import ConfigError, did_you_mean

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
"""What a network predicts, where `noisy = signal * clean + noise_level * noise`:

- `epsilon`: the noise.
- `v_prediction`: `signal * noise - noise_level * clean`, where the squares of both factors sum to 1 (Salimans and Ho,
  arXiv 2202.00512).
- `sample`: the clean data.
- `flow`: `noise - clean`, where both factors sum to 1, or its negative.
"""


@dataclass(frozen=True)
class Corrupted:
    """Corrupted data and the question about it.

    Attributes:
        noisy: `(N, ...)`, what the network sees.
        target: `(N, ...)`, what it should predict.
        time: `(N,)`, what it is told of the time, as it takes it: integers or floats.
        signal: `(N,)`, the factor of the clean data in `noisy`.
        noise_level: `(N,)`, the factor of the noise in `noisy`.
    """

    noisy: Tensor
    target: Tensor
    time: Tensor
    signal: Tensor
    noise_level: Tensor


class NoiseProcess(ABC):
    """Corrupts clean data.

    Attributes:
        prediction: What the network predicts; it decides how an error in it relates to an error in the noise.
        timesteps: In how many time steps the model's training divided the way to noise; a process in continuous time
            says how finely fixed time steps are counted.
    """

    prediction: Prediction
    timesteps: int

    @abstractmethod
    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        """Corrupt clean data.

        Args:
            clean: `(N, ...)`, float32 or float64, on any device.
            noise: Standard normal, of the same shape, dtype and device.
            position: `(N,)` float64 in [0, 1), on the CPU.

        Returns:
            Everything on `clean`'s device, floats in its dtype.
        """


class DiscreteProcess(NoiseProcess):
    """A variance-preserving diffusion with integer time steps: `sqrt(abar) clean + sqrt(1 - abar) noise`.

    Args:
        alphas_cumprod: `(T,)`, `abar` by time step, falling from below 1 to at least 0 (no signal at all).
        prediction: `epsilon`, `v_prediction` or `sample`.

    Raises:
        ConfigError: `alphas_cumprod` is no such course, or the prediction is none of the three.
    """

    def __init__(self, alphas_cumprod: Tensor, prediction: Prediction) -> None:
        kinds = [kind for kind in get_args(Prediction) if kind != "flow"]
        if prediction not in kinds:
            raise ConfigError(
                f"A diffusion in discrete time cannot predict {prediction!r}.", did_you_mean(prediction, kinds)
            )
        course = alphas_cumprod.detach().to("cpu", torch.float64)
        if not ((course >= 0) & (course < 1)).all() or (course.diff() > 0).any():
            raise ConfigError(
                "The scheduler's alphas_cumprod do not fall from below 1 to 0 or above.",
                "Give the model the scheduler that it was trained with.",
            )
        self.alphas_cumprod = course
        self.prediction = prediction
        self.timesteps = len(course)

    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        time = grid_index(position, self.timesteps)
        alpha = self.alphas_cumprod[time]
        signal, level = alpha.sqrt().to(clean), (1 - alpha).sqrt().to(clean)
        a, s = broadcast(signal, clean), broadcast(level, clean)
        target = {
            "epsilon": lambda: noise,
            "sample": lambda: clean,
            "v_prediction": lambda: a * noise - s * clean,
        }[self.prediction]()
        return Corrupted(a * clean + s * noise, target, time.to(clean.device), signal, level)


class CosineProcess(NoiseProcess):
    """A variance-preserving diffusion in continuous time: `cos(pi t / 2) clean + sin(pi t / 2) noise`.

    The network is told `t`, the position itself, and predicts v (Stable Audio Open: Evans et al., arXiv 2407.14358).

    Args:
        timesteps: How finely fixed time steps are counted.

    Raises:
        ConfigError: It is not above 0.
    """

    prediction: Prediction = "v_prediction"

    def __init__(self, timesteps: int = 1000) -> None:
        _check_above_0("A cosine process", timesteps=timesteps)
        self.timesteps = timesteps

    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        time = position.double()
        signal, level = (time * (torch.pi / 2)).cos().to(clean), (time * (torch.pi / 2)).sin().to(clean)
        a, s = broadcast(signal, clean), broadcast(level, clean)
        return Corrupted(a * clean + s * noise, a * noise - s * clean, time.to(clean), signal, level)


class RectifiedFlow(NoiseProcess):
    """Straight paths from data to noise, `(1 - q) clean + q noise`; the target is the velocity `noise - clean`.

    Args:
        shift: Moves times towards the noise: `q = shift u / (1 + (shift - 1) u)` (Esser et al., arXiv 2403.03206,
            Eq. 23). Under logit-normal times, the same as adding `log(shift)` to the normal's mean.
        timesteps: `u` is one of `1/T, 2/T, ..., 1`: data without any noise is never shown to the network.
        time_scale: The network is told `q * time_scale`.
        continuous: `u` is the position itself, and `timesteps` says how finely fixed time steps are counted.
        reverse: The model's time runs from noise to data: the network is told `(1 - q) * time_scale`, and the target is
            `clean - noise`.

    Raises:
        ConfigError: A number is not above 0.
    """

    prediction: Prediction = "flow"

    def __init__(
        self,
        shift: float = 1.0,
        timesteps: int = 1000,
        time_scale: float = 1000.0,
        continuous: bool = False,
        reverse: bool = False,
    ) -> None:
        _check_above_0("A flow", shift=shift, timesteps=timesteps, time_scale=time_scale)
        self.shift, self.timesteps, self.time_scale = shift, timesteps, time_scale
        self.continuous, self.reverse = continuous, reverse

    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        step = position.double()
        if not self.continuous:
            step = (grid_index(position, self.timesteps) + 1).double() / self.timesteps
        exact = self.shift * step / (1 + (self.shift - 1) * step)
        level, signal = exact.to(clean), (1 - exact).to(clean)
        time = ((1 - exact if self.reverse else exact) * self.time_scale).to(clean)
        noisy = broadcast(signal, clean) * clean + broadcast(level, clean) * noise
        return Corrupted(noisy, clean - noise if self.reverse else noise - clean, time, signal, level)


def _check_above_0(what: str, **numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ConfigError(f"{what}'s {name} is {value}.", "Give a number above 0.")


def grid_index(position: Tensor, count: int) -> Tensor:
    """`(N,)` int64: which of `count` equal parts of [0, 1) each position lies in."""
    return (position.double() * count).long().clamp(0, count - 1)


def broadcast(values: Tensor, like: Tensor) -> Tensor:
    """`(N,)` values in a shape that multiplies `(N, ...)`."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
