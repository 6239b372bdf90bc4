"""Loudness against the values that the standard gives, and gains."""

import math

import pytest
import torch

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.loudness import loudness_of, normalised, peak_of
from tests import sounds


def test_a_sine_of_full_scale_has_the_loudness_of_the_standard() -> None:
    # ITU-R BS.1770-4: a 0 dB FS sine of 997 Hz in one channel reads -3.01 LKFS, in two channels 3.01 more.
    assert loudness_of(sounds.tone(997, 2.0, 48000, level=1.0)) == pytest.approx(-3.01, abs=0.05)
    assert loudness_of(sounds.tone(997, 2.0, 48000, level=1.0, channels=2)) == pytest.approx(0.0, abs=0.05)
    assert loudness_of(sounds.tone(997, 2.0, 48000, level=0.1)) == pytest.approx(-23.01, abs=0.05)


def test_short_and_silent_clips_have_a_loudness() -> None:
    assert loudness_of(sounds.tone(1000, 0.1)) == pytest.approx(loudness_of(sounds.tone(1000, 2.0)), abs=0.3)
    assert loudness_of(sounds.silence()) == -math.inf
    assert loudness_of(Clip(torch.full((1, 1), 0.5), 16000)) < 0
    with pytest.raises(RowError, match="the sound has 6 channels"):
        loudness_of(sounds.noise(channels=6))


@pytest.mark.parametrize("target", [-30.0, -14.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_is_reached_by_one_gain(target: float, channels: int) -> None:
    clip = sounds.noise(1.0, level=0.05, channels=channels)
    result = normalised(clip, loudness=target)
    assert loudness_of(result) == pytest.approx(target, abs=0.01)
    gain = result.samples[0, 0] / clip.samples[0, 0]
    assert torch.allclose(result.samples, clip.samples * gain, rtol=1e-5)
    assert result.samples.dtype == torch.float32


def test_peak_is_reached() -> None:
    clip = sounds.stereo(sounds.tone(level=0.2), sounds.tone(level=0.1))
    result = normalised(clip, peak=0.5)
    assert peak_of(result) == pytest.approx(0.5)
    assert torch.allclose(result.samples, clip.samples * (0.5 / peak_of(clip)))
    assert peak_of(normalised(sounds.tone(level=4.0), peak=1.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("gain", [{"loudness": -20.0}, {"peak": 0.5}])
def test_silent_clips_are_left_alone(gain: dict[str, float]) -> None:
    for clip in (sounds.silence(1.0), sounds.noise(1.0, level=1e-5)):
        assert torch.equal(normalised(clip, **gain).samples, clip.samples)


def test_without_a_target_nothing_changes() -> None:
    clip = sounds.tone()
    assert normalised(clip) is clip


@pytest.mark.parametrize(
    "options",
    [{"loudness": -20.0, "peak": 0.5}, {"loudness": 3.0}, {"loudness": -80.0}, {"peak": 0.0}, {"peak": 1.5},
     {"peak": float("nan")}, {"loudness": float("nan")}],
)  # fmt: skip
def test_targets_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        normalised(sounds.tone(), **options)
