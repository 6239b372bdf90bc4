"""Pictures and comparisons of them."""

from typing import Any

import numpy as np
import torch
from PIL import Image as Pictures
from torch import nn

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison, PreferenceBatch
from modalign.modalities.image.modality import Image

PIPELINES = ("stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux")


def picture(seed: int, width: int = 24, height: int = 20) -> Any:
    """A smooth random picture."""
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Pictures.fromarray(values).resize((width, height), Pictures.Resampling.BICUBIC)


def pairs(count: int = 2) -> list[Comparison]:
    colours = ("red", "green", "blue", "yellow")
    return [
        Comparison(
            f"a {colours[n % 4]} circle", (Candidate(picture(2 * n), CHOSEN), Candidate(picture(2 * n + 1), REJECTED))
        )
        for n in range(count)
    ]


def batch_of(modality: Image, count: int = 2, epoch: int = 0) -> PreferenceBatch:
    return modality.collate([modality.encode(comparison) for comparison in pairs(count)], range(count), epoch)


def disturb(model: nn.Module, scale: float = 0.05) -> None:
    """Move every trainable parameter, as training would."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                step = torch.randn(parameter.shape, generator=source)
                parameter.add_(scale * step.to(parameter))


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}
