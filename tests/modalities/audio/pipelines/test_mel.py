"""Log-mel spectrograms equal a float64 transcription of TacotronSTFT and of Slaney's formula; sound comes back."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modalign.modalities.audio.pipelines.mel import Mel, mel_filters
from tests.sounds import noise, sequence

SMALL = Mel(rate=8000, fft=256, hop=64, window=200, mels=12, low=50.0, high=3500.0)
Array = NDArray[np.float64]


def slaney_filters(mel: Mel) -> Array:
    """Slaney 1998: 66.67 Hz a mel up to 1,000 Hz, then 27 mels for each factor of 6.4; each triangle's area is 1."""

    def mels_of(hertz: float) -> float:
        return hertz / (200 / 3) if hertz < 1000 else 15 + math.log(hertz / 1000) / (math.log(6.4) / 27)

    def hertz_of(mels: float) -> float:
        return 200 / 3 * mels if mels < 15 else 1000 * math.exp(math.log(6.4) / 27 * (mels - 15))

    low, high = mels_of(mel.low), mels_of(mel.high)
    points = [hertz_of(low + (high - low) * number / (mel.mels + 1)) for number in range(mel.mels + 2)]
    filters = np.zeros((mel.mels, mel.fft // 2 + 1))
    for row in range(mel.mels):
        left, top, right = points[row : row + 3]
        for column in range(mel.fft // 2 + 1):
            frequency = column * mel.rate / mel.fft
            share = min((frequency - left) / (top - left), (right - frequency) / (right - top))
            filters[row, column] = max(share, 0) * 2 / (right - left)
    return filters


def transcribed(samples: Array, mel: Mel) -> Array:
    """`(frames, mels)`: reflected ends, a periodic Hann window amid the transform, magnitudes, logarithm."""
    window = np.zeros(mel.fft)
    first = (mel.fft - mel.window) // 2
    window[first : first + mel.window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(mel.window) / mel.window)
    padded = np.pad(np.clip(samples, -1, 1), mel.fft // 2, mode="reflect")
    frames = [padded[start : start + mel.fft] * window for start in range(0, len(samples) + 1, mel.hop)]
    magnitudes = np.abs(np.fft.rfft(np.stack(frames), axis=1))
    logarithms: Array = np.log(np.maximum(magnitudes @ slaney_filters(mel).T, 1e-5))
    return logarithms[: len(samples) // mel.hop]


@pytest.mark.parametrize("mel", [Mel(), SMALL], ids=["published", "small"])
def test_spectrograms(mel: Mel) -> None:
    clip = sequence(["a low tone", "noise"], seconds=0.2, rate=mel.rate).samples[0].double() * 3  # clipped
    clip = clip[: len(clip) // mel.hop * mel.hop]
    expected = transcribed(clip.numpy(), mel)
    found = mel.spectrogram(clip[None])[0]
    assert found.shape == (len(clip) // mel.hop, mel.mels) == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
    narrow = mel.spectrogram(clip[None].float())[0].exp()
    np.testing.assert_allclose(narrow.numpy(), np.exp(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mel", [Mel(), SMALL], ids=["published", "small"])
def test_filters_equal_torchaudios(mel: Mel) -> None:
    from torchaudio.functional import melscale_fbanks

    peer = melscale_fbanks(mel.fft // 2 + 1, mel.low, mel.high, mel.mels, mel.rate, "slaney", "slaney").T
    torch.testing.assert_close(mel_filters(mel).float(), peer, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(mel_filters(mel).numpy(), slaney_filters(mel), rtol=1e-10, atol=1e-15)


def test_mean_and_std_scale_and_are_undone() -> None:
    scaled = Mel(mels=16, mean=-4.0, std=2.5)
    clip = noise(0.3).samples[:, :4800]
    plain = Mel(mels=16)
    torch.testing.assert_close(scaled.spectrogram(clip), (plain.spectrogram(clip) + 4) / 2.5)
    spectrogram = plain.spectrogram(clip)
    torch.testing.assert_close(
        scaled.waveforms((spectrogram + 4) / 2.5), plain.waveforms(spectrogram), atol=1e-3, rtol=1e-2
    )


@settings(max_examples=10, deadline=None)
@given(frames=st.integers(2, 40), count=st.integers(1, 3), seed=st.integers(0, 99))
def test_shapes_and_independence_of_the_batch(frames: int, count: int, seed: int) -> None:
    mel = Mel(rate=8000, fft=128, hop=64, window=128, mels=8, high=4000.0)
    samples = 0.3 * torch.randn(count, frames * 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spectrogram = mel.spectrogram(samples)
    assert spectrogram.shape == (count, frames, 8)
    assert spectrogram.isfinite().all()
    again = mel.waveforms(spectrogram)
    assert again.shape == samples.shape
    torch.testing.assert_close(mel.waveforms(spectrogram[-1:]), again[-1:])


@pytest.mark.parametrize("mel", [Mel(), SMALL])
def test_the_shortest_clip(mel: Mel) -> None:
    samples = round(mel.shortest * mel.rate)
    assert mel.spectrogram(torch.zeros(1, samples)).isfinite().all()
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        mel.spectrogram(torch.zeros(1, samples - 1))


def test_sound_comes_back() -> None:
    """The way back is no worse than librosa's: of the magnitudes that it can know, 90 percent of the power."""
    mel = Mel()
    clip = sequence(["a low tone", "noise", "a high tone"], seconds=0.2).samples[:, :9600]
    spectrogram = mel.spectrogram(clip)
    state = torch.get_rng_state()
    made = mel.waveforms(spectrogram)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(made, mel.waveforms(spectrogram))
    found, wanted = mel.spectrogram(made).exp(), spectrogram.exp()
    assert ((found - wanted).square().sum() / wanted.square().sum()).item() < 0.1
    third = mel.spectrogram(made)[0].exp().view(3, 20, 64).mean(1)
    assert third[0].argmax() < third[2].argmax()


def test_silence_stays_silent() -> None:
    mel = Mel()
    made = mel.waveforms(mel.spectrogram(torch.zeros(1, 3200)))
    assert made.isfinite().all()
    assert made.abs().max() < 1e-3
