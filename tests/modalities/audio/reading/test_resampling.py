"""Resampling against closed forms and scipy."""

import math

import pytest
import torch
from scipy.signal import resample_poly

from modalign.core.errors import RowError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.resampling import resampled, with_channels
from tests import sounds

RATES = [(44100, 16000), (48000, 16000), (16000, 44100), (16000, 48000), (8000, 24000), (22050, 16000)]


@pytest.mark.parametrize(("rate", "wanted"), RATES)
def test_a_sine_is_the_same_sine(rate: int, wanted: int) -> None:
    clip = sounds.tone(1000, 0.5, rate, channels=2)
    result = resampled(clip, wanted)
    expected = sounds.tone(1000, result.samples.shape[1] / wanted, wanted, channels=2)
    assert result.rate == wanted
    assert result.samples.shape == (2, math.ceil(clip.samples.shape[1] * wanted / rate))
    inner = slice(wanted // 10, -wanted // 10)
    assert (result.samples - expected.samples)[:, inner].abs().max() < 2e-4


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (16000, 48000)])
def test_scipy_agrees(rate: int, wanted: int) -> None:
    clip = sounds.chirp(100, 4000, 0.5, rate)
    common = math.gcd(rate, wanted)
    expected = resample_poly(clip.samples.double().numpy()[0], wanted // common, rate // common)
    result = resampled(clip, wanted).samples[0]
    assert result.shape == expected.shape
    inner = slice(wanted // 20, -wanted // 20)
    assert (result - torch.from_numpy(expected))[inner].abs().max() < 2e-3


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    above = resampled(sounds.tone(9000, 0.5, 44100), 16000)
    assert above.samples[:, 800:-800].abs().max() < 1e-4


@pytest.mark.parametrize(("rate", "wanted"), [(44101, 16000), (11127, 8000), (16000, 44101)])
def test_rates_without_a_common_divisor_need_no_gigabytes(rate: int, wanted: int) -> None:
    clip = sounds.tone(1000, 0.5, rate, channels=2)
    result = resampled(clip, wanted)
    expected = sounds.tone(1000, result.samples.shape[1] / wanted, wanted, channels=2)
    assert result.samples.dtype == torch.float32
    assert result.samples.shape == (2, math.ceil(clip.samples.shape[1] * wanted / rate))
    assert (result.samples - expected.samples)[:, 800:-800].abs().max() < 2e-3


def test_the_same_rate_is_the_same_clip() -> None:
    clip = sounds.tone()
    assert resampled(clip, clip.rate) is clip


def test_mono_is_doubled_and_stereo_averaged() -> None:
    left, right = sounds.tone(300), sounds.tone(500)
    both = sounds.stereo(left, right)
    assert torch.equal(with_channels(left, 2).samples, sounds.stereo(left, left).samples)
    assert torch.allclose(with_channels(both, 1).samples, (left.samples + right.samples) / 2)
    assert with_channels(both, 2) is both
    assert with_channels(Clip(both.samples.repeat(3, 1), 16000), 1).channels == 1


def test_six_channels_are_not_made_two() -> None:
    with pytest.raises(RowError, match="6 channels: 2 are wanted"):
        with_channels(sounds.noise(channels=6), 2)
