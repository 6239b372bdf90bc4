"""How clean data is corrupted, and what the network is asked to predict of it.

`position` in [0, 1) orders the corruption of one model from cleanest to noisiest; each process maps it to its own time.
At any time `noisy = signal * clean + noise_level * noise`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]


@dataclass(frozen=True)
class Corrupted:
    """Corrupted data and the question about it.

    Attributes:
        noisy: `(N, ...)`, what the network sees.
        target: `(N, ...)`, what it should predict.
        time: `(N,)`, what it is told of the time, as it takes it.
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
        timesteps: The number of time steps the model was trained with.
    """

    prediction: Prediction
    timesteps: int

    @abstractmethod
    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        """Corrupt `(N, ...)` clean data by noise of the same shape at `(N,)` positions; all in float32."""


class DiscreteProcess(NoiseProcess):
    """A variance-preserving diffusion with integer time steps: `sqrt(abar) clean + sqrt(1 - abar) noise`.

    Args:
        alphas_cumprod: `(T,)`, the scheduler's `abar` by time step.
        prediction: `epsilon`, `v_prediction` or `sample`.
    """

    def __init__(self, alphas_cumprod: Tensor, prediction: Prediction) -> None:
        self.alphas_cumprod = alphas_cumprod.double()
        self.prediction = prediction
        self.timesteps = len(alphas_cumprod)

    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        time = (position.double() * self.timesteps).long().clamp(0, self.timesteps - 1)
        alpha = self.alphas_cumprod.to(time.device)[time]
        signal, level = alpha.sqrt().to(clean.dtype), (1 - alpha).sqrt().to(clean.dtype)
        a, s = broadcast(signal, clean), broadcast(level, clean)
        target = {"epsilon": noise, "sample": clean, "v_prediction": a * noise - s * clean}[self.prediction]
        return Corrupted(a * clean + s * noise, target, time, signal, level)


class RectifiedFlow(NoiseProcess):
    """Straight paths from data to noise, `(1 - q) clean + q noise`; the target is the velocity `noise - clean`.

    Args:
        shift: Moves times towards the noise: `q = shift u / (1 + (shift - 1) u)` (Esser et al. 2024, Eq. 23).
        timesteps: The network is told `q * time_scale`.
        time_scale: 1000 for SD3, 1 for FLUX.
    """

    prediction: Prediction = "flow"

    def __init__(self, shift: float = 1.0, timesteps: int = 1000, time_scale: float = 1000.0) -> None:
        self.shift, self.timesteps, self.time_scale = shift, timesteps, time_scale

    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        # The trained grid starts at 1/T: data without any noise was never shown to the network.
        step = ((position.double() * self.timesteps).floor() + 1).clamp(1, self.timesteps) / self.timesteps
        level = (self.shift * step / (1 + (self.shift - 1) * step)).to(clean.dtype)
        q = broadcast(level, clean)
        return Corrupted((1 - q) * clean + q * noise, noise - clean, level * self.time_scale, 1 - level, level)


def broadcast(values: Tensor, like: Tensor) -> Tensor:
    """`(N,)` values in a shape that multiplies `(N, ...)`."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
