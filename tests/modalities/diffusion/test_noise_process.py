"""Corruption equals that of diffusers' schedulers, whatever they predict; families may have their own."""

import math
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.noise_process import CosineProcess, DiscreteProcess, RectifiedFlow
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.modalities.diffusion.toy import reversed_flow

SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def drawn(count: int, shape: tuple[int, ...] = (2, 3, 4), dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, count, *shape, generator=source, dtype=dtype)
    return clean, noise


def at(steps: list[int], count: int = 1000) -> Tensor:
    """The positions of fixed time steps."""
    source = torch.Generator()
    return torch.tensor([Timesteps("fixed", values=[step]).position(source, count) for step in steps]).double()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "LCMScheduler"])
def test_discrete_equals_diffusers(name: str, prediction: str, zero_snr: bool) -> None:
    scheduler = getattr(diffusers, name)(**SCALED, prediction_type=prediction, rescale_betas_zero_snr=zero_snr)
    steps = [0, 249, 499, 749, 999]
    clean, noise = drawn(len(steps))
    got = scheduler_process(scheduler).corrupt(clean, noise, at(steps))
    time = torch.tensor(steps)
    assert got.time.tolist() == steps
    torch.testing.assert_close(got.noisy, scheduler.add_noise(clean, noise, time), rtol=0, atol=2e-6)
    target = {"epsilon": noise, "sample": clean, "v_prediction": None}[prediction]
    target = scheduler.get_velocity(clean, noise, time) if target is None else target
    torch.testing.assert_close(got.target, target, rtol=0, atol=2e-6)
    if zero_snr:
        assert got.signal[-1] == 0
        assert got.noise_level[-1] == 1


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"])
def test_samplers_in_sigmas_show_the_network_the_same(name: str) -> None:
    """They add noise in another scale, and bring it to the network's in `scale_model_input`."""
    scheduler = getattr(diffusers, name)(**SCALED)
    process = scheduler_process(scheduler)
    clean, noise = drawn(3)
    got = process.corrupt(clean, noise, at([10, 500, 990]))
    sigma = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod)[[10, 500, 990]].sqrt()[:, None, None, None]
    torch.testing.assert_close(got.noisy, (clean + sigma * noise) / (sigma**2 + 1).sqrt(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_equals_diffusers(shift: float) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    steps = [0, 1, 249, 499, 749, 998, 999]
    clean, noise = drawn(len(steps))
    got = scheduler_process(scheduler).corrupt(clean, noise, at(steps))
    time = scheduler.timesteps.flip(0)[steps]  # from cleanest to noisiest
    torch.testing.assert_close(got.time, time, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(got.noisy, scheduler.scale_noise(clean, time, noise), rtol=0, atol=2e-6)
    torch.testing.assert_close(got.target, noise - clean, rtol=0, atol=0)
    assert got.signal[-1] == 0
    torch.testing.assert_close(
        scheduler_process(scheduler, time_scale=1).corrupt(clean, noise, at(steps)).time * 1000, time
    )


def test_turbo_levels_of_a_flow() -> None:
    got = RectifiedFlow().corrupt(*drawn(4), at([249, 499, 749, 999]))
    assert got.noise_level.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_a_shift_moves_the_normal_by_its_logarithm() -> None:
    clean, noise = drawn(4)
    position = torch.tensor([0.05, 0.3, 0.6, 0.95]).double()
    shifted = RectifiedFlow(shift=3.0, timesteps=10**9).corrupt(clean, noise, position)
    moved = torch.sigmoid(torch.logit(position) + math.log(3.0))
    plain = RectifiedFlow(timesteps=10**9).corrupt(clean, noise, moved)
    torch.testing.assert_close(shifted.noise_level, plain.noise_level, rtol=1e-6, atol=1e-7)


def test_shifting_left_to_the_sampler() -> None:
    process = scheduler_process(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True))
    assert isinstance(process, RectifiedFlow)
    assert process.shift == 1.0


@pytest.mark.parametrize("name", ["UniPCMultistepScheduler", "DPMSolverMultistepScheduler"])
def test_flow_prediction_of_a_solver(name: str) -> None:
    options = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 5.0}
    process = scheduler_process(getattr(diffusers, name)(**options))
    assert isinstance(process, RectifiedFlow)
    assert process.shift == 5.0


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (lambda: diffusers.EDMEulerScheduler(), "no alphas_cumprod"),
        (lambda: diffusers.DDPMScheduler(prediction_type="sideways"), "prediction_type 'sideways'"),
        (lambda: diffusers.CosineDPMSolverMultistepScheduler(prediction_type="epsilon"), "sigma_data 1"),
        (lambda: diffusers.CosineDPMSolverMultistepScheduler(sigma_data=0.5), "sigma_data 0.5"),
        (lambda: diffusers.EulerDiscreteScheduler(timestep_type="continuous"), "continuous time"),
        (lambda: diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction"), "without use_flow_sigmas"),
    ],
)
def test_unknown_processes_are_refused(scheduler: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        scheduler_process(scheduler())


@pytest.mark.parametrize("course", [[0.9, 0.5, 0.7], [1.0, 0.5], [0.5, -0.1], [float("nan")]])
def test_a_course_that_does_not_fall_is_refused(course: list[float]) -> None:
    with pytest.raises(ConfigError, match="alphas_cumprod"):
        DiscreteProcess(torch.tensor(course), "epsilon")


def test_a_discrete_flow_and_a_flow_without_length_are_refused() -> None:
    with pytest.raises(ConfigError, match="'flow'"):
        DiscreteProcess(torch.tensor([0.5]), "flow")
    with pytest.raises(ConfigError, match="shift is 0"):
        RectifiedFlow(shift=0)


@pytest.mark.parametrize("position", [0.0, 1 - 2**-53, 1.0])
def test_the_ends_are_time_steps(position: float) -> None:
    clean, noise = drawn(1)
    discrete = DiscreteProcess(torch.linspace(0.99, 0.0, 50), "v_prediction")
    for process in (discrete, RectifiedFlow(timesteps=50)):
        got = process.corrupt(clean, noise, torch.tensor([position]).double())
        assert got.noisy.isfinite().all()
        assert got.noise_level.item() == pytest.approx(1.0 if position else {discrete: 0.1}.get(process, 0.02))


@pytest.mark.parametrize("process", [CosineProcess(), reversed_flow(), RectifiedFlow(time_scale=1.0)])
@pytest.mark.parametrize("shape", [(3,), (4, 7), (2, 3, 4, 5)])
def test_latents_of_any_shape_and_times_that_are_floats(process: Any, shape: tuple[int, ...]) -> None:
    clean, noise = drawn(3, shape)
    got = process.corrupt(clean, noise, torch.tensor([0.0, 0.4, 0.99]).double())
    assert got.noisy.shape == got.target.shape == clean.shape
    assert got.time.is_floating_point()
    level = got.noise_level.reshape(3, *[1] * len(shape))
    torch.testing.assert_close(got.noisy - level * noise, got.signal.reshape(level.shape) * clean)
