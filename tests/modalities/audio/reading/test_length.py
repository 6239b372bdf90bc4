"""Clips of a wanted length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import RowError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.length import Short, fitted


def counted(frames: int) -> Clip:
    """Each sample is its own number, from 1 on."""
    return Clip(torch.arange(1, frames + 1, dtype=torch.float32).repeat(2, 1), 8)


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 50),
    wanted=st.integers(1, 50),
    short=st.sampled_from(["pad", "loop"]),
)
def test_every_clip_gets_the_wanted_length(frames: int, wanted: int, short: Short) -> None:
    result = fitted(counted(frames), wanted, short)
    samples = result.clip.samples
    assert samples.shape == (2, wanted)
    assert torch.equal(samples[0], samples[1])
    if frames >= wanted:
        assert torch.equal(samples[0], torch.arange(1, wanted + 1).float())
        assert result.sounding == wanted
    elif short == "pad":
        assert torch.equal(samples[0, :frames], torch.arange(1, frames + 1).float())
        assert not samples[0, frames:].any()
        assert result.sounding == frames
    else:
        assert torch.equal(samples[0], torch.arange(wanted).remainder(frames) + 1.0)
        assert result.sounding == wanted


def test_a_short_clip_is_refused_where_it_is_an_error() -> None:
    assert fitted(counted(8), 8, "error").sounding == 8
    with pytest.raises(RowError, match=r"the sound is too short: 0\.875 seconds, and 1\.000 are wanted"):
        fitted(counted(7), 8, "error")
