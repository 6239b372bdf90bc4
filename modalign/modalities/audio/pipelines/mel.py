"""Tacotron 2's log-mel spectrogram and a way back to samples.

It imports torch alone: exports put it beside the pipelines that use it.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

FLOOR = 1e-5
"""What magnitudes are clamped to below their logarithm."""
ITERATIONS = 32
MOMENTUM = 0.99
PHASE_SEED = 0


@dataclass(frozen=True)
class Mel:
    """A front end of log-mel spectrograms; its defaults are AudioLDM's, AudioLDM 2's and Tango's.

    Args:
        rate: Samples a second.
        fft: Samples that are transformed at once.
        hop: Samples from one frame to the next.
        window: How many of the `fft` samples the window is wide.
        mels: How many bands a frame has.
        low: Where the lowest band starts, in hertz.
        high: Where the highest band ends, in hertz.
        mean: Taken from the spectrogram.
        std: What it is then divided by.
    """

    rate: int = 16000
    fft: int = 1024
    hop: int = 160
    window: int = 1024
    mels: int = 64
    low: float = 0.0
    high: float = 8000.0
    mean: float = 0.0
    std: float = 1.0

    @property
    def shortest(self) -> float:
        """The seconds of the shortest clip: `fft / 2` samples are mirrored at its ends."""
        return (self.fft // 2 + 1) / self.rate

    def spectrogram(self, samples: Tensor) -> Tensor:
        """The logarithm of mel magnitudes, as Tacotron 2's `TacotronSTFT` computes it.

        Args:
            samples: `(N, frames * hop)`, float32 or float64; cut to [-1, 1], outside of which that code refuses them.

        Returns:
            `(N, frames, mels)`. The transform has one more frame, centred behind the last sample, which goes, as in
            the readers of AudioLDM and Tango.
        """
        magnitudes = self._transform(samples.clamp(-1, 1)).abs()
        mel = (mel_filters(self).to(magnitudes) @ magnitudes).clamp(min=FLOOR).log()
        return (mel.transpose(1, 2)[:, : samples.shape[1] // self.hop] - self.mean) / self.std

    def waveforms(self, spectrogram: Tensor) -> Tensor:
        """Samples whose spectrogram is near a given one: the filters' pseudo-inverse, then phases by Griffin and Lim.

        The fast algorithm of Perraudin et al. 2013; the first phases are fixed numbers, so that equal spectrograms
        give equal samples.

        Args:
            spectrogram: `(N, frames, mels)`.

        Returns:
            `(N, frames * hop)` in float32, or float64 where the spectrogram is.
        """
        wide = spectrogram.to(torch.promote_types(spectrogram.dtype, torch.float32))
        length = wide.shape[1] * self.hop
        inverse = torch.linalg.pinv(mel_filters(self)).to(wide)
        magnitudes = (inverse @ (wide * self.std + self.mean).exp().transpose(1, 2)).clamp(min=0)
        magnitudes = torch.cat([magnitudes, magnitudes[..., -1:]], -1)
        source = torch.Generator().manual_seed(PHASE_SEED)
        turns = torch.rand(magnitudes.shape[1:], generator=source, dtype=torch.float64).to(magnitudes)
        phases = torch.polar(torch.ones_like(magnitudes), 2 * math.pi * turns.expand_as(magnitudes))
        before = torch.zeros_like(phases)
        for _ in range(ITERATIONS):
            found = self._transform(self._inverse_transform(magnitudes * phases, length))
            ahead = found + MOMENTUM * (found - before)
            phases, before = ahead / (ahead.abs() + 1e-16), found
        return self._inverse_transform(magnitudes * phases, length)

    def _transform(self, samples: Tensor) -> Tensor:
        window = torch.hann_window(self.window, dtype=samples.dtype, device=samples.device)
        return torch.stft(samples, self.fft, self.hop, self.window, window, pad_mode="reflect", return_complex=True)

    def _inverse_transform(self, spectrum: Tensor, length: int) -> Tensor:
        window = torch.hann_window(self.window, dtype=spectrum.real.dtype, device=spectrum.device)
        return torch.istft(spectrum, self.fft, self.hop, self.window, window, length=length)


@lru_cache(maxsize=8)
def mel_filters(mel: Mel) -> Tensor:
    """`(mels, fft / 2 + 1)` float64: triangles of equal area between points that are even on Slaney's mel scale.

    They are those of Slaney's Auditory Toolbox (1998) and of librosa.
    """
    edges = torch.linspace(_to_mel(mel.low), _to_mel(mel.high), mel.mels + 2, dtype=torch.float64)
    hertz = torch.tensor([_to_hertz(edge) for edge in edges.tolist()], dtype=torch.float64)
    bins = torch.linspace(0, mel.rate / 2, mel.fft // 2 + 1, dtype=torch.float64)
    left, middle, right = (hertz[start : start + mel.mels, None] for start in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)


def _to_mel(hertz: float) -> float:
    """Linear below 1,000 Hz, logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _to_hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)
