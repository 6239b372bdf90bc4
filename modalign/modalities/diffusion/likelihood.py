"""The likelihood surrogate of diffusion models: minus the weighted denoising error.

For one cell, with clean latents `z`, prompt `c` and drawn time `t` and noise `n`,

    logp(z | c) = - w(t) * mean((prediction(z_t, t, c) - target)^2)

averaged over the draws: the mean over all latent numbers, in float32. The evidence lower bound has the sum of squares
times a schedule's factor in its place (Diffusion-DPO, arXiv 2311.12908, Eq. 14), so an objective's beta works per mean
squared error: 2,500 here is `beta_dpo` 5,000 of Salesforce's code and of diffusers' SDXL script, which halve it, and
2,500 of diffusers' Stable Diffusion script, which does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalign.modalities.diffusion.draws import RowDraws, Timesteps
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.weighting import Weighting, error_weight


@dataclass(frozen=True)
class ErrorSettings:
    """How a denoising error becomes a log-likelihood.

    Attributes:
        timesteps: Where it is measured.
        weighting: What each noise level counts.
        gamma: Of `min_snr`.
        draws: Over how many times and noises it is averaged.
    """

    timesteps: Timesteps
    weighting: Weighting = "constant"
    gamma: float = 5.0
    draws: int = 1


def denoising_logps(
    family: DiffusionFamily,
    denoiser: nn.Module,
    mean: Tensor,
    std: Tensor | None,
    text: Mapping[str, Tensor],
    numbers: Tensor | None,
    keys: RowDraws,
    settings: ErrorSettings,
) -> Tensor:
    """`(N,)` float32: minus each cell's weighted denoising error.

    Args:
        family: Corrupts and calls the denoiser.
        denoiser: The policy or a reference.
        mean: `(N, ...)` clean latents.
        std: Their standard deviation, where they are to be sampled anew at each draw.
        text: The prompts' encodings, `(N, ...)` each.
        numbers: See `DiffusionFamily.predict`.
        keys: Of the randomness.
        settings: See there.
    """
    errors = [
        _errors(family, denoiser, mean, std, text, numbers, keys, settings, draw) for draw in range(settings.draws)
    ]
    return -torch.stack(errors).mean(0)


def _errors(
    family: DiffusionFamily,
    denoiser: nn.Module,
    mean: Tensor,
    std: Tensor | None,
    text: Mapping[str, Tensor],
    numbers: Tensor | None,
    keys: RowDraws,
    settings: ErrorSettings,
    draw: int,
) -> Tensor:
    shape: Sequence[int] = mean.shape[1:]
    device, clean = mean.device, mean.to(torch.promote_types(mean.dtype, torch.float32))
    if std is not None:
        clean = clean + std * keys.noise(shape, draw, "posterior").to(device)
    noise = keys.noise(shape, draw).to(device, clean.dtype)
    position = keys.positions(settings.timesteps, family.process.timesteps, draw).to(device)
    corrupted = family.corrupt(clean, noise, position)
    prediction = family.predict(denoiser, corrupted.noisy, corrupted.time, text, numbers)
    squares = (prediction.to(clean.dtype) - corrupted.target).square()
    weight = error_weight(settings.weighting, family.process.prediction, corrupted, settings.gamma)
    return weight * squares.flatten(1).mean(1)
