"""Images and comparisons for tests of vision-language models."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.media import Media
from modalign.modalities.vision_language.prompts import question


def picture(seed: int = 0, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """RGB noise, another for each seed."""
    width, height = size
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def media(seed: int = 0, size: tuple[int, int] = (48, 32)) -> Media:
    """The same as the bytes of a PNG file."""
    file = BytesIO()
    picture(seed, size).save(file, "PNG")
    return Media(data=file.getvalue())


def written(folder: Path, seed: int = 0, size: tuple[int, int] = (48, 32)) -> Media:
    """The same as a file."""
    path = folder / f"{seed}-{size[0]}x{size[1]}.png"
    picture(seed, size).save(path)
    return Media(str(path))


def pair(
    images: Sequence[Any] = (),
    chosen: Any = "The picture shows 2 red circles.",
    rejected: Any = "a blue square",
    text: str = "What is in the image?",
    **more: Any,
) -> Comparison:
    return Comparison(question(text, images), (Candidate(chosen, CHOSEN), Candidate(rejected, REJECTED)), **more)
