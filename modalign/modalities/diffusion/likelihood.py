"""The likelihood surrogate of diffusion models: minus the weighted denoising error.

For one cell, with clean latents `z`, prompt `c` and drawn time `t` and noise `n`,

    logp(z | c) = - w(t) * mean((prediction(z_t, t, c) - target)^2)

averaged over the draws: the mean over all latent numbers, in float32. The evidence lower bound has the sum of squares
times a schedule's factor in its place (Diffusion-DPO, arXiv 2311.12908, Eq. 14), so an objective's beta works per mean
squared error: 2,500 here is `beta_dpo` 5,000 of Salesforce's code and of diffusers' SDXL script, which halve it, and
2,500 of diffusers' Stable Diffusion script, which does not. docs/diffusion-units.md converts the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError, did_you_mean
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.diffusion.weighting import WEIGHTINGS, Weighting, error_weight

GAMMA = 5.0
"""Of min-SNR weighting, where nobody chose one: the paper's."""

LIKELIHOOD_VERSION = 2
"""To be raised when the same model, latents and settings give other numbers; part of the key of a cached reference."""


@dataclass(frozen=True)
class ErrorSettings:
    """How a denoising error becomes a log-likelihood.

    Attributes:
        timesteps: Where it is measured.
        weighting: What each noise level counts.
        gamma: Of `min_snr`, above 0.
        draws: Over how many times and noises it is averaged, at least 1.

    Raises:
        ConfigError: A value is out of range.
    """

    timesteps: Timesteps
    weighting: Weighting = "constant"
    gamma: float = GAMMA
    draws: int = 1

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ConfigError(f"weighting is {self.weighting!r}.", did_you_mean(str(self.weighting), WEIGHTINGS))
        if not self.gamma > 0:
            raise ConfigError(f"min_snr_gamma is {self.gamma}.", "Give a number above 0; 5 in the paper.")
        if self.gamma != GAMMA and self.weighting != "min_snr":
            raise ConfigError(
                f"min_snr_gamma is {self.gamma}, and weighting is {self.weighting}, which has none.",
                "Set weighting: min_snr, or leave min_snr_gamma out.",
            )
        if self.draws < 1:
            raise ConfigError(f"draws is {self.draws}.", "Give at least 1.")


@dataclass(frozen=True)
class CleanCells:
    """N cells as a denoiser needs them.

    Attributes:
        mean: `(N, ...)` clean latents.
        std: Their standard deviation, where they are to be sampled anew at each draw; None where `mean` is all.
        text: The prompts' encodings, `(N, ...)` each.
        numbers: `(N, M)`; see `DiffusionFamily.predict`.
    """

    mean: Tensor
    std: Tensor | None
    text: Mapping[str, Tensor]
    numbers: Tensor | None = None

    def only(self, cells: Tensor) -> "CleanCells":
        """Some of the cells, by their numbers `(M,)`."""
        return CleanCells(
            self.mean[cells],
            None if self.std is None else self.std[cells],
            {name: values[cells] for name, values in self.text.items()},
            None if self.numbers is None else self.numbers[cells],
        )


def denoising_logps(
    family: DiffusionFamily,
    denoiser: nn.Module,
    cells: CleanCells,
    draws: RowDraws,
    settings: ErrorSettings,
    free: Tensor | None = None,
) -> Tensor:
    """Minus each cell's weighted denoising error: `(N,)` float32, or float64 where the denoiser or the latents are.

    Args:
        family: Corrupts and calls the denoiser.
        denoiser: The policy or a reference.
        cells: On the denoiser's device.
        draws: The keys of the randomness.
        settings: See there.
        free: `(N,)` bool, the cells that need no gradient: they get a forward of their own that keeps no activations.

    Raises:
        ConfigError: The family answers in another shape than it asks, or the timesteps do not fit its process.
    """
    if free is None or not torch.is_grad_enabled():
        return _mean_logps(family, denoiser, cells, draws, settings)
    logps = cells.mean.new_zeros(len(cells.mean), dtype=_reduced_in(denoiser, cells))
    for grad, some in ((True, ~free), (False, free)):
        places = some.nonzero().squeeze(1)
        if len(places):
            with torch.set_grad_enabled(grad):
                part = _mean_logps(family, denoiser, cells.only(places), draws.only(places.tolist()), settings)
            logps = logps.index_put((places,), part)
    return logps


def _mean_logps(
    family: DiffusionFamily, denoiser: nn.Module, cells: CleanCells, draws: RowDraws, settings: ErrorSettings
) -> Tensor:
    errors = [_errors(family, denoiser, cells, draws, settings, draw) for draw in range(settings.draws)]
    return -torch.stack(errors).mean(0)


def _errors(
    family: DiffusionFamily,
    denoiser: nn.Module,
    cells: CleanCells,
    draws: RowDraws,
    settings: ErrorSettings,
    draw: int,
) -> Tensor:
    """`(N,)`: the weighted mean squared errors of one draw."""
    shape, dtype = cells.mean.shape[1:], _reduced_in(denoiser, cells)
    clean = cells.mean.to(dtype)
    if cells.std is not None:
        clean = clean + cells.std.to(dtype) * draws.noise(shape, draw, "posterior").to(clean)
    noise = draws.noise(shape, draw).to(clean)
    corrupted = family.corrupt(clean, noise, draws.positions(settings.timesteps, family.process.timesteps, draw))
    prediction = family.predict(denoiser, corrupted.noisy, corrupted.time, cells.text, cells.numbers)
    if prediction.shape != corrupted.target.shape:
        raise ConfigError(
            f"{type(family).__name__} predicts {tuple(prediction.shape)}, and {tuple(corrupted.target.shape)} was "
            "asked of it.",
            "The denoiser is another than the family was written for, or the family must cut its answer to shape.",
        )
    squares = (prediction.to(dtype) - corrupted.target).square()
    weight = error_weight(settings.weighting, family.process.prediction, corrupted, settings.gamma)
    return weight.to(dtype) * squares.flatten(1).mean(1)


def _reduced_in(denoiser: nn.Module, cells: CleanCells) -> torch.dtype:
    """float32, whatever narrower dtype the network has; float64 where anything has it."""
    network = next(denoiser.parameters(), cells.mean).dtype
    return torch.promote_types(torch.promote_types(network, cells.mean.dtype), torch.float32)
