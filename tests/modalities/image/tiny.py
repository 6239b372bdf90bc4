"""Files of tiny pictures, and the image modality in float64 on a tiny Stable Diffusion."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from modalign.modalities.image.modality import Image

SIDE = 16
PROMPTS = ("a red circle", "a green star", "two big dogs", "a dark photo", "the house", "a cat", "nine trees")


def picture(seed: int, side: int = SIDE) -> Picture.Image:
    """A smooth one, so that the two of a pair differ in colour and shape."""
    draw = np.random.default_rng(seed)
    small = Picture.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return small.resize((side, side), Picture.Resampling.BICUBIC)


def _saved(folder: Path, seed: int) -> str:
    path = folder / f"{seed}.png"
    picture(seed).save(path)
    return path.name


def write_pairs(folder: Path, rows: int) -> Path:
    """`pairs.jsonl` and its pictures."""
    lines = [
        {
            "prompt": PROMPTS[row % len(PROMPTS)],
            "chosen": _saved(folder, 2 * row),
            "rejected": _saved(folder, 2 * row + 1),
        }
        for row in range(rows)
    ]
    return _written(folder / "pairs.jsonl", lines)


def write_lists(folder: Path, lengths: Sequence[int]) -> Path:
    """`lists.jsonl` and its pictures, the first of each list the best."""
    lines = []
    for row, length in enumerate(lengths):
        images = [_saved(folder, 1000 + 10 * row + number) for number in range(length)]
        lines.append({"prompt": PROMPTS[row], "images": images, "scores": [float(-number) for number in range(length)]})
    return _written(folder / "lists.jsonl", lines)


def _written(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def double(folder: Path, **options: Any) -> Image:
    """The modality in float64 throughout."""
    fixed = {"dtype": "float64", "encoder_dtype": "float64", "cache": "off", "cache_dtype": "float64"}
    return Image(str(folder), **{**fixed, **options})
