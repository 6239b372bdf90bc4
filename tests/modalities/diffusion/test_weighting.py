"""Weights: the identities between kinds of prediction, the paper's min-SNR factors, and the ends of the scale."""

import pytest
import torch
from torch import Tensor

from modalign.modalities.diffusion.noise_process import (
    Corrupted,
    CosineProcess,
    DiscreteProcess,
    NoiseProcess,
    RectifiedFlow,
)
from modalign.modalities.diffusion.weighting import error_weight
from tests.modalities.diffusion.toy import reversed_flow

POSITIONS = torch.tensor([0.0, 0.1, 0.35, 0.8, 0.995], dtype=torch.float64)


def corrupted(process: NoiseProcess) -> tuple[Corrupted, Tensor, Tensor, Tensor]:
    """In float64: the corruption, the clean data, the noise, and a network's guess of the noise."""
    source = torch.Generator().manual_seed(2)
    clean, noise, guess = torch.randn(3, len(POSITIONS), 4, 6, generator=source, dtype=torch.float64)
    return process.corrupt(clean, noise, POSITIONS), clean, noise, guess


def mean_square(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).mean(1)


def discrete(prediction: str) -> DiscreteProcess:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return DiscreteProcess((1 - betas).cumprod(0), prediction)  # type: ignore[arg-type]


PROCESSES = {
    "epsilon": discrete("epsilon"),
    "v_prediction": discrete("v_prediction"),
    "cosine v": CosineProcess(),
    "sample": discrete("sample"),
    "flow": RectifiedFlow(shift=3.0),
    "continuous flow": RectifiedFlow(timesteps=1, continuous=True),
    "reversed flow": reversed_flow(),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_all_predictions_share_the_error_in_the_noise(name: str) -> None:
    """A guess of the noise implies clean data, v and velocity; weighted, their errors are that of the guess."""
    process = PROCESSES[name]
    seen, _, noise, guess = corrupted(process)
    a, s = seen.signal[:, None, None], seen.noise_level[:, None, None]
    implied = (seen.noisy - s * guess) / a
    prediction = {
        "epsilon": guess,
        "v_prediction": a * guess - s * implied,
        "sample": implied,
        "flow": guess - implied if name != "reversed flow" else implied - guess,
    }[process.prediction]
    weight = error_weight("epsilon", process.prediction, seen)
    got = weight * mean_square(prediction - seen.target)
    torch.testing.assert_close(got, mean_square(guess - noise), rtol=1e-9, atol=1e-12)


def test_identities_of_v_and_flow() -> None:
    """eps_err = abar v_err, x0_err = (1 - abar) v_err; eps_err = (1-q)^2 u_err, x0_err = q^2 u_err."""
    for name in ("v_prediction", "flow"):
        seen, clean, noise, guess = corrupted(PROCESSES[name])
        a, s = seen.signal[:, None, None], seen.noise_level[:, None, None]
        implied = (seen.noisy - s * guess) / a
        told = a * guess - s * implied if name == "v_prediction" else guess - implied
        error = mean_square(told - seen.target)
        torch.testing.assert_close(mean_square(guess - noise), seen.signal**2 * error, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(mean_square(implied - clean), seen.noise_level**2 * error, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_as_in_the_paper(gamma: float) -> None:
    for process in PROCESSES.values():
        seen = corrupted(process)[0]
        snr = (seen.signal / seen.noise_level) ** 2
        least = snr.clamp(max=gamma)
        expected = {
            "epsilon": least / snr,
            "v_prediction": least / (snr + 1),
            "sample": least,
            "flow": least * seen.noise_level**2,
        }[process.prediction]
        got = error_weight("min_snr", process.prediction, seen, gamma)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighting", ["constant", "epsilon", "min_snr"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow"])
def test_finite_where_there_is_no_signal_or_no_noise(weighting: str, prediction: str) -> None:
    empty = torch.zeros(2, 1)
    seen = Corrupted(empty, empty, empty, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    weight = error_weight(weighting, prediction, seen)  # type: ignore[arg-type]
    assert not weight.isnan().any()
    assert weight[0].isfinite()
    if (weighting, prediction) != ("epsilon", "sample"):
        assert weight[1].isfinite()


def test_constant_is_one() -> None:
    for process in PROCESSES.values():
        assert error_weight("constant", process.prediction, corrupted(process)[0]).tolist() == [1.0] * 5
