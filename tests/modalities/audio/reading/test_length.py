"""Clips of a wanted length."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import RowError
from modalign.core.keys import generator
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.length import Crop, Short, first_frame, fitted


def counted(frames: int) -> Clip:
    """Each sample is its own number, from 1 on."""
    return Clip(torch.arange(1, frames + 1, dtype=torch.float32).repeat(2, 1), 8)


@settings(max_examples=100)
@given(
    frames=st.integers(1, 50),
    wanted=st.integers(1, 50),
    crop=st.sampled_from(get_args(Crop)),
    short=st.sampled_from(["pad", "loop"]),
    key=st.integers(0, 9),
)
def test_every_clip_gets_the_wanted_length(frames: int, wanted: int, crop: Crop, short: Short, key: int) -> None:
    result = fitted(counted(frames), wanted, crop, short, generator(key))
    samples = result.clip.samples
    assert samples.shape == (2, wanted)
    assert torch.equal(samples[0], samples[1])
    if frames >= wanted:
        first = int(samples[0, 0])
        assert torch.equal(samples[0], torch.arange(first, first + wanted).float())
        assert first + wanted - 1 <= frames
        assert result.sounding == wanted
    elif short == "pad":
        assert torch.equal(samples[0, :frames], torch.arange(1, frames + 1).float())
        assert not samples[0, frames:].any()
        assert result.sounding == frames
    else:
        assert torch.equal(samples[0], torch.arange(wanted).remainder(frames) + 1.0)
        assert result.sounding == wanted


def test_where_parts_begin() -> None:
    assert first_frame(10, 4, "start") == 0
    assert first_frame(10, 4, "center") == 3
    assert first_frame(11, 4, "center") == 3
    assert [first_frame(4, 10, crop, generator(0)) for crop in get_args(Crop)] == [0, 0, 0]
    drawn = [first_frame(6, 4, "random", generator(key)) for key in range(60)]
    assert set(drawn) == {0, 1, 2}
    assert drawn == [first_frame(6, 4, "random", generator(key)) for key in range(60)]


def test_a_short_clip_is_refused_where_it_is_an_error() -> None:
    assert fitted(counted(8), 8, "start", "error").sounding == 8
    with pytest.raises(RowError, match=r"the sound is too short: 0\.875 seconds, and 1\.000 are wanted"):
        fitted(counted(7), 8, "start", "error")
