"""Tacotron 2's log-mel spectrogram and a way back to samples, from a pipeline's own settings.

It imports torch and torchaudio alone: exports put it beside the pipelines that use it.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

FLOOR = 1e-5
"""What magnitudes are clamped to below their logarithm."""
ITERATIONS = 64
MOMENTUM = 0.99
PHASE_SEED = 0


@dataclass(frozen=True)
class MelSettings:
    """Of a log-mel spectrogram.

    Attributes:
        rate: Samples a second.
        fft: Samples that are transformed at once.
        hop: Samples from one frame to the next.
        window: How many of the `fft` samples the window is wide.
        mels: How many bands a frame has.
        low: Where the lowest band starts, in hertz.
        high: Where the highest band ends, in hertz.
    """

    rate: int = 16000
    fft: int = 1024
    hop: int = 160
    window: int = 1024
    mels: int = 64
    low: float = 0.0
    high: float = 8000.0

    @property
    def shortest(self) -> float:
        """The seconds of the shortest clip: the padding at its ends mirrors `fft / 2` samples."""
        return (self.fft // 2 + 1) / self.rate


def log_mel(samples: Tensor, settings: MelSettings) -> Tensor:
    """The logarithm of mel magnitudes, as Tacotron 2's `TacotronSTFT` computes it.

    Args:
        samples: `(N, frames * hop)`, float32 or float64; cut to [-1, 1], outside of which that code refuses them.
        settings: See there.

    Returns:
        `(N, frames, mels)`. The transform has one more frame, centred behind the last sample, which goes, as in the
        readers of AudioLDM and Tango.
    """
    spectrum = _spectrum(samples.clamp(-1, 1), settings).abs()
    mel = mel_filters(settings).to(spectrum) @ spectrum
    return mel.clamp(min=FLOOR).log().transpose(1, 2)[:, : samples.shape[1] // settings.hop]


def inverse_log_mel(mel: Tensor, settings: MelSettings) -> Tensor:
    """Samples whose log-mel spectrogram is near a given one: the filters' pseudo-inverse, then Griffin and Lim's phases.

    The first phases are fixed numbers, so equal spectrograms give equal samples. After Perraudin et al. 2013 ("A fast
    Griffin-Lim algorithm").

    Args:
        mel: `(N, frames, mels)`.
        settings: See there.

    Returns:
        `(N, frames * hop)` in float32, or float64 where `mel` is.
    """
    wide = torch.promote_types(mel.dtype, torch.float32)
    filters = torch.linalg.pinv(mel_filters(settings)).to(mel.device, wide)
    magnitudes = (filters @ mel.to(wide).transpose(1, 2).exp()).clamp(min=0)
    magnitudes = torch.cat([magnitudes, magnitudes[..., -1:]], -1)
    length = mel.shape[1] * settings.hop
    source = torch.Generator().manual_seed(PHASE_SEED)
    turns = torch.rand(magnitudes.shape[1:], generator=source, dtype=torch.float64).to(magnitudes)
    phases, before = torch.polar(torch.ones_like(magnitudes), 2 * math.pi * turns.expand_as(magnitudes)), None
    for _ in range(ITERATIONS):
        found = _spectrum(_samples(magnitudes * phases, settings, length), settings)
        ahead = found if before is None else found + MOMENTUM * (found - before)
        phases, before = ahead / (ahead.abs() + 1e-16), found
    return _samples(magnitudes * phases, settings, length)


@lru_cache(maxsize=8)
def mel_filters(settings: MelSettings) -> Tensor:
    """`(mels, fft / 2 + 1)` float64: triangles between points that are even on Slaney's mel scale, of equal area.

    They are librosa's `filters.mel` and Slaney's Auditory Toolbox's (1998).
    """
    edges = torch.linspace(_to_mel(settings.low), _to_mel(settings.high), settings.mels + 2, dtype=torch.float64)
    hertz = torch.tensor([_to_hertz(edge) for edge in edges.tolist()], dtype=torch.float64)
    bins = torch.linspace(0, settings.rate / 2, settings.fft // 2 + 1, dtype=torch.float64)
    left, middle, right = (hertz[start : start + settings.mels, None] for start in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)


def _to_mel(hertz: float) -> float:
    """Linear below 1,000 Hz, logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _to_hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def _spectrum(samples: Tensor, settings: MelSettings) -> Tensor:
    window = torch.hann_window(settings.window, dtype=samples.dtype, device=samples.device)
    return torch.stft(
        samples, settings.fft, settings.hop, settings.window, window, pad_mode="reflect", return_complex=True
    )


def _samples(spectrum: Tensor, settings: MelSettings, length: int) -> Tensor:
    window = torch.hann_window(settings.window, dtype=spectrum.real.dtype, device=spectrum.device)
    return torch.istft(spectrum, settings.fft, settings.hop, settings.window, window, length=length)
