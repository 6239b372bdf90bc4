"""An image behind noise."""

from typing import ClassVar

import numpy as np
from PIL import Image

from modalign.core.errors import ConfigError
from modalign.core.keys import key_seed, run_seed
from modalign.modalities.vision_language.variants.base import PixelVariant

STEPS = 1000
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


class Noised(PixelVariant):
    """A step of forward diffusion, `sqrt(a) x + sqrt(1 - a) noise` (POVID, arXiv 2402.11411).

    `a` is the product of `1 - beta` over the steps, with `beta = sigmoid(linspace(-6, 6, 1000)) (5e-3 - 1e-5) + 1e-5`.
    `x` are pixels with CLIP's mean and spread taken out, as the released code adds its noise to what LLaVA's processor
    returns; here a picture has to come out, so its pixels are put back and kept within their range. An image's noise is
    the same in every epoch.

    Args:
        step: Which of the 1000 steps, from 0 on; 500 in POVID, 900 for BPO's negatives.

    Raises:
        ConfigError: There is no such step.
    """

    name: ClassVar[str] = "noised"

    def __init__(self, step: int = 500) -> None:
        if not 0 <= step < STEPS:
            raise ConfigError(f"The image variant noised has step {step}.", f"Give a step from 0 to {STEPS - 1}.")
        self.step = step

    def alter(self, picture: Image.Image, key: str) -> Image.Image:
        """See `PixelVariant.alter`."""
        pixels = (np.asarray(picture.convert("RGB"), dtype=np.float32) / 255 - _MEAN) / _STD
        noise = np.random.default_rng(key_seed(run_seed(), self.name, key)).standard_normal(pixels.shape, np.float32)
        kept = np.float32(signal_share(self.step))
        noised = np.sqrt(kept) * pixels + np.sqrt(1 - kept) * noise
        return Image.fromarray(np.round(np.clip(noised * _STD + _MEAN, 0, 1) * 255).astype(np.uint8))


def signal_share(step: int) -> float:
    """`a`: how much of an image's variance is left after a step, counted from 0."""
    betas = (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, STEPS))) + 1e-5
    return float(np.prod(1 - betas[: step + 1]))
