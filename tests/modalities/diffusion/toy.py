"""Diffusion families of a few weights, without a pipeline: latents of any shape and times of any kind, as in sounds."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.batch import PreferenceBatch
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.likelihood import CleanCells
from modalign.modalities.diffusion.noise_process import DiscreteProcess, NoiseProcess, RectifiedFlow

CHANNELS = 3


def reversed_flow() -> RectifiedFlow:
    """LongCat's: time 0 is noise, time 1 is clean, and the velocity points to the data."""
    return RectifiedFlow(time_scale=1.0, continuous=True, reverse=True)


def linear_epsilon(steps: int = 1000) -> DiscreteProcess:
    return DiscreteProcess((1 - torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)).cumprod(0), "epsilon")


class TinyDenoiser(nn.Module):
    """Mixes channels, along with the time and the prompt; for `(N, CHANNELS, ...)`."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        self.mix = nn.Parameter(0.3 * torch.randn(CHANNELS, CHANNELS, generator=source).to(dtype))
        self.of_time = nn.Parameter(0.3 * torch.randn(CHANNELS, generator=source).to(dtype))
        self.of_text = nn.Parameter(0.3 * torch.randn(CHANNELS, generator=source).to(dtype))

    def forward(self, noisy: Tensor, time: Tensor, text: Tensor) -> Tensor:
        told = torch.outer(time, self.of_time) + torch.outer(text, self.of_text)
        mixed = torch.einsum("oc,nc...->no...", self.mix, noisy)
        return mixed + told.reshape(*told.shape, *[1] * (noisy.dim() - 2))


class ToyFamily(DiffusionFamily):
    """Any process and latents; a prompt's encoding is its length."""

    pipelines = frozenset({"ToyPipeline"})

    def __init__(self, process: NoiseProcess) -> None:
        self._given = process
        super().__init__(SimpleNamespace(scheduler=None), {})

    def make_process(self, scheduler: Any) -> NoiseProcess:
        return self._given

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        return media, torch.zeros_like(media)

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        return {"length": torch.tensor([float(len(prompt)) for prompt in prompts])}

    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor], numbers: Tensor | None
    ) -> Tensor:
        dtype = next(denoiser.parameters()).dtype
        share = time / self.process.timesteps if not time.is_floating_point() else time
        return denoiser(noisy.to(dtype), share.to(dtype), text["length"].to(dtype))


def cells_of(count: int, shape: Sequence[int] = (CHANNELS, 5), seed: int = 0, std: float | None = None) -> CleanCells:
    source = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, *shape, generator=source)
    return CleanCells(
        mean, None if std is None else torch.full_like(mean, std), {"length": torch.rand(count, generator=source)}
    )


def batch_of(
    roles: Sequence[str], mask: Sequence[Sequence[bool]], index: Sequence[int], epoch: int = 0
) -> PreferenceBatch:
    """A batch without inputs."""
    there = torch.tensor(mask)
    rows = len(index)
    return PreferenceBatch(
        inputs={},
        roles=tuple(roles),
        scores=torch.full(there.shape, torch.nan),
        sizes=there.float(),
        mask=there,
        weight=torch.ones(rows),
        index=torch.tensor(list(index)),
        truncated=torch.zeros(rows, dtype=torch.bool),
        epoch=epoch,
    )
