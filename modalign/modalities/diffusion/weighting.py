"""How much a denoising error counts at each noise level."""

from typing import Literal

import torch
from torch import Tensor

from modalign.modalities.diffusion.noise_process import Corrupted, Prediction

Weighting = Literal["constant", "epsilon", "min_snr"]
"""The factor of the mean squared error of what the network predicts:

- `constant`: 1. Under v and flow prediction this is another loss than under epsilon prediction.
- `epsilon`: whatever turns the error into that of the noise it implies, so that all predictions share one loss.
- `min_snr`: the `epsilon` factor times `min(SNR, gamma) / SNR` (Hang et al. 2023, arXiv 2303.09556).
"""


def error_weight(weighting: Weighting, prediction: Prediction, corrupted: Corrupted, gamma: float = 5.0) -> Tensor:
    """`(N,)`: the factor of each error.

    With `a` the signal's and `s` the noise's factor, an error in v is `1/a` times that in the noise (where
    `a^2 + s^2 = 1`), an error in the clean data `s/a` times, and an error in a rectified flow's velocity `1/a` times.
    """
    a, s = corrupted.signal, corrupted.noise_level
    if weighting == "constant":
        return torch.ones_like(a)
    to_noise = {
        "epsilon": torch.ones_like(a),
        "v_prediction": a.square(),
        "flow": a.square(),
        "sample": (a / s).square(),
    }[prediction]
    if weighting == "epsilon":
        return to_noise
    # min(SNR, gamma) / SNR without the division by a vanishing SNR.
    return to_noise * (gamma * s.square() / a.square().clamp(min=torch.finfo(a.dtype).tiny)).clamp(max=1)
