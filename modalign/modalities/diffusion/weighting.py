"""How much a denoising error counts at each noise level."""

from typing import Literal, get_args

import torch
from torch import Tensor

from modalign.modalities.diffusion.noise_process import Corrupted, Prediction

Weighting = Literal["constant", "epsilon", "min_snr"]
"""The factor of the mean squared error of what the network predicts:

- `constant`: 1. Under v and flow prediction this is another loss than under epsilon prediction.
- `epsilon`: whatever turns the error into that of the noise it implies, so that all predictions share one loss.
- `min_snr`: the `epsilon` factor times `min(SNR, gamma) / SNR` (Hang et al., arXiv 2303.09556, Section 3.4): for v that
  is `min(SNR, gamma) / (SNR + 1)`, for the clean data `min(SNR, gamma)`.
"""

WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


def error_weight(weighting: Weighting, prediction: Prediction, corrupted: Corrupted, gamma: float = 5.0) -> Tensor:
    """`(N,)`: the factor of each error.

    With `a` the signal's and `s` the noise's factor and SNR `a^2 / s^2`, squared errors relate as

        in the noise = a^2 * in v = a^2 * in a flow's velocity = SNR * in the clean data

    (v where `a^2 + s^2 = 1`, a flow where `a + s = 1`). Finite down to `a = 0`, and up to `s = 0` but for `epsilon`
    under `sample`: where there is no noise, clean data implies none.
    """
    a, s = corrupted.signal.square(), corrupted.noise_level.square()
    if weighting == "constant":
        return torch.ones_like(a)
    if weighting == "epsilon":
        factors = {"epsilon": torch.ones_like(a), "v_prediction": a, "flow": a, "sample": a / s}
    else:
        snr = a / s
        factors = {
            "epsilon": (gamma / snr).clamp(max=1),
            "v_prediction": torch.minimum(a, gamma * s),
            "flow": torch.minimum(a, gamma * s),
            "sample": snr.clamp(max=gamma),
        }
    return factors[prediction]
