"""Processes of sounds in continuous time: closed forms, and the very schedulers that sample their models."""

import math

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.noise_process import CosineProcess, RectifiedFlow
from modalign.modalities.diffusion.schedulers import CONTINUOUS_STEPS, scheduler_process
from modalign.modalities.diffusion.timesteps import Timesteps


def drawn(count: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn(2, count, 4, 5, generator=source, dtype=torch.float64)
    return clean, noise


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
def test_cosine_v_in_closed_form(places: list[float]) -> None:
    clean, noise = drawn(len(places))
    got = CosineProcess().corrupt(clean, noise, torch.tensor(places, dtype=torch.float64))
    for row, place in enumerate(places):
        cos, sin = math.cos(math.pi * place / 2), math.sin(math.pi * place / 2)
        torch.testing.assert_close(got.noisy[row], cos * clean[row] + sin * noise[row], rtol=0, atol=1e-14)
        torch.testing.assert_close(got.target[row], cos * noise[row] - sin * clean[row], rtol=0, atol=1e-14)
        assert got.time[row] == place
        recovered = cos * got.noisy[row] - sin * got.target[row]
        torch.testing.assert_close(recovered, clean[row], rtol=0, atol=1e-13)


def test_cosine_v_is_what_stable_audios_scheduler_samples() -> None:
    """At each of its steps: the input, the time, and the clean data that it reads out of an exact prediction."""
    scheduler = diffusers.CosineDPMSolverMultistepScheduler()
    scheduler.set_timesteps(20)
    process = scheduler_process(scheduler)
    assert isinstance(process, CosineProcess)
    clean, noise = drawn(1)
    for step, (time, sigma) in enumerate(zip(scheduler.timesteps, scheduler.sigmas[:-1], strict=True)):
        scheduler._step_index = step
        sample = clean + sigma.double() * noise
        got = process.corrupt(clean, noise, sigma.double().atan()[None] * 2 / math.pi)
        torch.testing.assert_close(got.time[0], time.double(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(got.noisy, scheduler.scale_model_input(sample, time), rtol=1e-5, atol=1e-5)
        read = scheduler.convert_model_output(got.target, sample=sample)
        torch.testing.assert_close(read, clean, rtol=1e-5, atol=1e-4 * float(sigma))


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(("invert", "steps"), [(False, 1), (False, 1000), (True, 1000), (True, 1)])
def test_an_exact_prediction_leads_the_flows_scheduler_to_the_data(invert: bool, steps: int, shift: float) -> None:
    """And what the network sees on the way is what it saw in training, at the times it was told there."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(steps, shift=shift, invert_sigmas=invert)
    process = scheduler_process(scheduler)
    assert isinstance(process, RectifiedFlow)
    scheduler.set_timesteps(sigmas=[1.0, 0.9, 0.5, 0.2])
    clean, noise = (values.float() for values in drawn(1))
    sample = noise
    for time in scheduler.timesteps:
        level = 1 - time / steps if invert else time / steps
        before = level / (shift - (shift - 1) * level)  # the level before the shift
        place = (before.double() - (0 if process.continuous else 0.5 / steps)).clamp(0, 1 - 1e-9)[None]
        got = process.corrupt(clean, noise, place)
        torch.testing.assert_close(got.time[0], time, rtol=1e-5, atol=1e-5 * steps)
        torch.testing.assert_close(got.noisy, sample, rtol=1e-4, atol=1e-4)
        sample = scheduler.step(got.target, time, sample).prev_sample
    torch.testing.assert_close(sample, clean, rtol=1e-4, atol=1e-4)


def test_position_0_is_cleanest_however_time_runs() -> None:
    clean, noise = drawn(3)
    places = torch.tensor([0.0, 0.5, 0.999], dtype=torch.float64)
    for process in (CosineProcess(), RectifiedFlow(continuous=True), RectifiedFlow(continuous=True, reverse=True)):
        got = process.corrupt(clean, noise, places)
        assert (got.noise_level.diff() > 0).all()
        assert (got.signal.diff() < 0).all()
        torch.testing.assert_close(got.noisy[0], clean[0], rtol=0, atol=0)


def test_a_flow_of_one_training_step_is_continuous() -> None:
    """Stable Audio 3's: a grid of one would only ever show pure noise."""
    process = scheduler_process(diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0))
    clean, noise = drawn(5)
    places = torch.tensor([0.0, 0.1, 0.123456789, 0.5, 0.9], dtype=torch.float64)
    got = process.corrupt(clean, noise, places)
    torch.testing.assert_close(got.time, places, rtol=0, atol=0)
    torch.testing.assert_close(got.noise_level, places, rtol=0, atol=0)
    torch.testing.assert_close(got.target, noise - clean, rtol=0, atol=0)


def test_fixed_time_steps_in_continuous_time() -> None:
    process = scheduler_process(diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1))
    assert process.timesteps == CONTINUOUS_STEPS
    place = Timesteps("fixed", values=[0]).position(torch.Generator(), process.timesteps)
    clean, noise = drawn(1)
    assert process.corrupt(clean, noise, torch.tensor([place]).double()).noise_level.item() == pytest.approx(0.0005)
    with pytest.raises(ConfigError, match="1000"):
        Timesteps("fixed", values=[1000]).check(process.timesteps)


def test_reversed_time_changes_the_sign_and_what_is_told_and_nothing_else() -> None:
    clean, noise = drawn(4)
    places = torch.tensor([0.0, 0.2, 0.7, 0.99], dtype=torch.float64)
    ahead = RectifiedFlow(shift=2.0, time_scale=1.0).corrupt(clean, noise, places)
    back = RectifiedFlow(shift=2.0, time_scale=1.0, reverse=True).corrupt(clean, noise, places)
    torch.testing.assert_close(back.noisy, ahead.noisy, rtol=0, atol=0)
    torch.testing.assert_close(back.target, -ahead.target, rtol=0, atol=0)
    torch.testing.assert_close(back.time, 1 - ahead.time, rtol=0, atol=1e-15)
    torch.testing.assert_close(back.noise_level, ahead.noise_level, rtol=0, atol=0)


def test_a_process_without_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="timesteps is 0"):
        CosineProcess(0)
