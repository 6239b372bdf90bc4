"""From a picture of any size to the square a model is trained on, and what SDXL is told of it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Framing:
    """How pictures are scaled and cropped.

    Attributes:
        resolution: Height and width of the square.
        crop: Whether it is cut from the middle, or from a place that is drawn anew each epoch.
    """

    resolution: int
    crop: Literal["center", "random"] = "center"

    def resized(self, picture: Image.Image) -> Tensor:
        """`(3, H, W)` uint8: the picture in its own aspect, its shorter side of the resolution; antialiased."""
        width, height = picture.size
        short = min(width, height)
        size = round(width * self.resolution / short), round(height * self.resolution / short)
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()

    def framed(
        self, pixels: Tensor, original: tuple[float, ...], place: tuple[float, float], flipped: bool
    ) -> tuple[Tensor, tuple[float, ...]]:
        """Cut the square out, and mirror it.

        Args:
            pixels: From `resized`.
            original: Height and width before resizing.
            place: Where in the free space a random crop lies, each in [0, 1).
            flipped: Whether the picture is mirrored.

        Returns:
            `(3, resolution, resolution)` uint8, and SDXL's micro-conditioning (arXiv 2307.01952, section 2.2): original
            height and width, top and left of the crop in the resized picture as it is shown (so mirrored where it is
            mirrored), height and width of the target.
        """
        side = self.resolution
        free = pixels.shape[1] - side, pixels.shape[2] - side
        if self.crop == "random":
            top, left = (int(share * (space + 1)) for share, space in zip(place, free, strict=True))
        else:
            top, left = free[0] // 2, free[1] // 2
        square = pixels[:, top : top + side, left : left + side]
        if flipped:
            square, left = square.flip(-1), free[1] - left
        return square.contiguous(), (*original, float(top), float(left), float(side), float(side))
