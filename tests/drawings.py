"""The toy modality with pictures for responses: what a modality that writes files looks like to the loop."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.core.media import Media
from modalign.core.reward import Reward
from tests.toy import Letters

SIDE = 4


class Drawings(Letters):
    """Draws grey squares, keyed by seed, prompt and draw; the lighter, the larger the first bias of the head."""

    name = "drawings"

    def sample(self, model: nn.Module, prompts: Any, n: int = 1, seed: int = 0, **options: Any) -> list[list[Any]]:
        self.check_sampling(options)
        light = float(model.head.bias[0].detach())
        return [[self._draw(prompt, draw, seed, light) for draw in range(n)] for prompt in prompts]

    def _draw(self, prompt: str, draw: int, seed: int, light: float) -> Image.Image:
        noise = torch.rand((), generator=generator(seed, prompt, draw)).item()
        level = int(255 * torch.sigmoid(torch.tensor(4 * light + noise)))
        return Image.new("RGB", (SIDE, SIDE), (level, level, level))

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        for name in options:
            if name != "steps":
                raise UserError(f"Drawing has no option {name!r}.", "Its only option is steps.")

    def save(self, response: Any, stem: Path) -> Path | None:
        path = stem.with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        response.save(path)
        return path

    def contact_sheet(self, prompts: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> Image.Image:
        sheet = Image.new("RGB", (SIDE * len(columns), SIDE * len(prompts)))
        for column, responses in enumerate(columns.values()):
            for row, response in enumerate(responses):
                sheet.paste(opened(response), (SIDE * column, SIDE * row))
        return sheet


class Lightness(Reward):
    """How light a square is, from 0 to 255."""

    name = "lightness"
    modalities = frozenset({"drawings"})

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> torch.Tensor:
        return torch.tensor([float(opened(each).getpixel((0, 0))[0]) for each in candidates])


def opened(response: Any) -> Image.Image:
    return Image.open(response.path) if isinstance(response, Media) else response
