"""What of a sound is trained on: which part, in which form, and what is said of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.modalities.audio import window as windows
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.loudness import loudness_of
from modalign.modalities.audio.window import Window
from tests.sounds import chirp, media, noise, save, stereo, tone

RATE = 8000
WINDOW = Window(RATE, 1, 1024, 64)


def ramp(frames: int) -> Clip:
    """Every sample says where it is."""
    return Clip((torch.arange(frames) / 10000)[None], RATE)


@pytest.mark.parametrize(("crop", "first"), [("start", 0), ("center", 488)])
def test_only_the_part_is_decoded(monkeypatch: pytest.MonkeyPatch, crop: Any, first: int) -> None:
    asked: list[tuple[float, Any]] = []
    original = windows.read_clip

    def read(response: Any, start: float = 0.0, seconds: float | None = None) -> Clip:
        asked.append((start, seconds))
        return original(response, start, seconds)

    monkeypatch.setattr(windows, "read_clip", read)
    samples, numbers = replace(WINDOW, crop=crop).read(media(ramp(2000)))
    assert torch.equal(samples, ramp(2000).samples[:, first : first + 1024])
    assert numbers == (0.0, 0.128)
    ((start, seconds),) = asked
    assert start == pytest.approx(max(first / RATE - windows.MARGIN, 0))
    assert seconds is not None
    assert seconds < 0.128 + 0.03


@pytest.mark.parametrize(("crop", "first"), [("start", 0), ("center", 800)])
def test_the_window_of_another_rate_is_that_of_the_whole_sound_resampled(crop: Any, first: int) -> None:
    """Samples around the window are read with it, so that neither of its ends is a cut to the resampler."""
    sound = chirp(seconds=0.328, rate=44100)
    samples, _ = replace(WINDOW, crop=crop).read(sound)
    whole = windows.resampled(sound, RATE).samples[:, first : first + 1024]
    torch.testing.assert_close(samples, whole, rtol=0, atol=1e-5)


def test_short_sounds() -> None:
    sound = ramp(600)
    padded, told = WINDOW.read(sound)
    assert torch.equal(padded[:, :600], sound.samples)
    assert padded[:, 600:].abs().max() == 0
    assert told == (0.0, 0.075)
    looped, told = replace(WINDOW, short="loop").read(sound)
    assert torch.equal(looped, sound.samples.repeat(1, 2)[:, :1024])
    assert told == (0.0, 0.128)
    with pytest.raises(RowError, match=r"too short: 0.075 seconds, and 0.128"):
        replace(WINDOW, short="error").read(sound)
    # Less than a latent step: a length that was rounded up is no fault of the data.
    nearly, told = replace(WINDOW, short="error").read(ramp(961))
    assert nearly.shape == (1, 1024)
    assert told == (0.0, 961 / RATE)
    with pytest.raises(RowError, match="too short"):
        replace(WINDOW, short="error").read(ramp(960))


@pytest.mark.parametrize("crop", ["start", "center", "random"])
@pytest.mark.parametrize(
    ("frames", "rate", "whole"),
    [
        *((600, RATE, True), (1024, RATE, True), (1087, RATE, True), (1088, RATE, False), (9000, RATE, False)),
        *((5991, 44100, True), (5993, 44100, False)),
    ],
)
def test_a_sound_is_cut_that_is_longer_by_a_latent_step(
    crop: Any, frames: int, rate: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1087 samples at 8000 a second are 5991.1 at 44100; what the header says is enough to know."""
    monkeypatch.setattr(windows, "read_clip", None)
    sound = Clip(torch.zeros(1, frames), rate)
    assert replace(WINDOW, crop=crop).is_whole(media(sound)) is whole


def test_channels() -> None:
    two = stereo(tone(300, 0.2, RATE), tone(900, 0.2, RATE))
    assert torch.equal(WINDOW.read(two)[0], two.samples[:, :1024].mean(0, keepdim=True))
    one = tone(300, 0.2, RATE)
    assert torch.equal(replace(WINDOW, channels=2).read(one)[0], one.samples[:, :1024].repeat(2, 1))


def test_levels_are_kept_unless_asked_for() -> None:
    quiet = noise(0.5, RATE, level=0.01)
    assert torch.equal(WINDOW.read(quiet)[0], quiet.samples[:, :1024])
    assert replace(WINDOW, peak=0.5).read(quiet)[0].abs().max() == pytest.approx(0.5)
    long = replace(WINDOW, samples=4000, loudness=-23.0)
    assert loudness_of(Clip(long.read(quiet)[0], RATE)) == pytest.approx(-23.0, abs=0.1)
    # The part decides, not what is beyond it, and silence that is put to it plays no part.
    loud_later = Clip(torch.cat([quiet.samples[:, :1024], tone(300, 0.1, RATE).samples], 1), RATE)
    assert torch.equal(replace(WINDOW, peak=0.5).read(loud_later)[0], replace(WINDOW, peak=0.5).read(quiet)[0])


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 3000), place=st.floats(0, 1, exclude_max=True), short=st.sampled_from(["pad", "loop"]))
def test_a_crop_at_random_is_a_part_of_the_sound(frames: int, place: float, short: Any) -> None:
    window = replace(WINDOW, crop="random", short=short)
    whole, unknown = window.read(ramp(frames))
    assert torch.equal(whole, ramp(frames).samples)
    assert unknown == ()
    samples, (start, end) = window.cut(whole, place)
    assert samples.shape == (1, 1024)
    assert samples.is_contiguous()
    assert (start, end) == (0.0, 1024 / RATE if short == "loop" else min(frames, 1024) / RATE)
    first = int(place * (max(frames - 1024, 0) + 1))
    assert torch.equal(samples[:, : min(frames, 1024)], whole[:, first : first + 1024])


def test_the_last_place_is_reached() -> None:
    window = replace(WINDOW, crop="random")
    samples, _ = window.cut(ramp(1026).samples, 0.999)
    assert torch.equal(samples, ramp(1026).samples[:, 2:])


def test_a_long_file_is_not_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LONGEST_WHOLE", 0.1)
    monkeypatch.setattr(windows, "read_clip", None)
    with pytest.raises(RowError, match=r"(?s)too long for a crop at random.*crop: start or center"):
        replace(WINDOW, crop="random").read(media(ramp(2000)))


@pytest.mark.parametrize("crop", ["start", "center", "random"])
def test_what_is_refused_is_named(tmp_path: Path, crop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    window = replace(WINDOW, crop=crop)
    with pytest.raises(RowError, match=r"gone\.wav"):
        window.read(Media("gone.wav"))
    short = Media(str(save(tone(300, 0.05, RATE), tmp_path / "short.wav")))
    with pytest.raises(RowError, match=r"too short: 0.050 seconds.*short\.wav") as refusal:
        replace(window, short="error").read(short)
    assert refusal.value.reason == "the sound is too short"
    six = Media(str(save(Clip(torch.zeros(6, 4000), RATE), tmp_path / "six.wav")))
    with pytest.raises(RowError, match=r"6 channels: 2 are wanted.*six\.wav"):
        replace(window, channels=2).read(six)
    if crop == "random":
        monkeypatch.setattr(windows, "LONGEST_WHOLE", 0.01)
        with pytest.raises(RowError, match=r"too long for a crop at random.*short\.wav"):
            window.read(short)
