"""Rewards that need no model: brightness, colourfulness, and how well an image compresses."""

from abc import abstractmethod
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from modalign.core.errors import ConfigError, did_you_mean
from modalign.core.reward import Reward

if TYPE_CHECKING:
    from PIL.Image import Image

_LUMA = (0.299, 0.587, 0.114)
_SIZES = ("small", "large")


class _OfPixels(Reward):
    """Judges an image by itself; the prompt says nothing."""

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        from modalign.modalities.image.decoding import decode_image

        return torch.tensor([self._judge(decode_image(image)) for image in candidates], dtype=torch.float32)

    @abstractmethod
    def _judge(self, image: "Image") -> float:
        """The score of an RGB image."""


class Brightness(_OfPixels):
    """Mean luma of an image, from 0 (black) to 1 (white): 0.299 R + 0.587 G + 0.114 B of the sRGB values (Rec. 601)."""

    name: ClassVar[str] = "brightness"

    def _judge(self, image: "Image") -> float:
        return float((_values(image) @ np.array(_LUMA)).mean()) / 255


class Colorfulness(_OfPixels):
    """How colourful an image is: Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003, equation 12.

    `sqrt(var(rg) + var(yb)) + 0.3 * sqrt(mean(rg)^2 + mean(yb)^2)` with `rg = R - G` and `yb = (R + G) / 2 - B`, of
    values from 0 to 255. Grey images have 0; 33 is called averagely colourful, 109 extremely.
    """

    name: ClassVar[str] = "colorfulness"

    def _judge(self, image: "Image") -> float:
        red, green, blue = _values(image).reshape(-1, 3).T
        opponents = np.stack([red - green, (red + green) / 2 - blue])
        spread, shift = np.sqrt(opponents.var(axis=1).sum()), np.sqrt((opponents.mean(axis=1) ** 2).sum())
        return float(spread + 0.3 * shift)


class Compressibility(_OfPixels):
    """Minus the size of an image as a JPEG file, in kilobytes of 1000 bytes: DDPO's reward (arXiv 2305.13301).

    Args:
        quality: Of the JPEG file, 1 to 95.
        wanted: `small` files, or `large` ones, which DDPO calls incompressibility: the same without the minus.

    Raises:
        ConfigError: An option is out of range.
    """

    name: ClassVar[str] = "compressibility"

    def __init__(self, quality: int = 95, wanted: Literal["small", "large"] = "small") -> None:
        if not 1 <= quality <= 95:
            raise ConfigError(f"compressibility: quality is {quality}.", "Give a number between 1 and 95.")
        if wanted not in _SIZES:
            raise ConfigError(f"compressibility: wanted is {wanted!r}.", did_you_mean(str(wanted), _SIZES))
        self.quality = quality
        self.wanted = wanted

    def _judge(self, image: "Image") -> float:
        file = BytesIO()
        image.save(file, format="JPEG", quality=self.quality)
        kilobytes = file.tell() / 1000
        return -kilobytes if self.wanted == "small" else kilobytes


def _values(image: "Image") -> Any:
    """`(H, W, 3)` float64, from 0 to 255."""
    return np.asarray(image, dtype=np.float64)
