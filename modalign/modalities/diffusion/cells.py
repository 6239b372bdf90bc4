"""A cell of a diffusion modality, and what is drawn for it as a batch is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modalign.core.batch import Example
from modalign.core.keys import generator, run_seed


@dataclass(frozen=True)
class DiffusionCell:
    """A medium under a prompt.

    Attributes:
        key: A hash of the medium's content.
        prompt: What it was generated from; "" where the caption is dropped.
        dropped: The caption that is dropped; None where none is.
        numbers: What else the network is told, see `DiffusionFamily.predict`; before anything is drawn, what of the
            medium itself decides it (for images: original height and width), empty where its latents are in the cache.
        media: The decoded medium (for images `(3, H, W)` uint8); None where its latents are in the cache.
        flipped: Whether it is mirrored.
    """

    key: str
    prompt: str
    numbers: tuple[float, ...] = ()
    media: Tensor | None = None
    flipped: bool = False
    dropped: str | None = None

    def content_key(self) -> tuple[str, str]:
        """What decides its likelihood, beside the draws and the modality's options; see `content_hash`.

        The same whether its latents are cached or not.
        """
        return self.key, self.prompt


@dataclass(frozen=True)
class RowChoices:
    """What is drawn once for a row and epoch, and holds for all its cells.

    Attributes:
        flipped: Whether media are mirrored.
        dropped: Whether the prompt is left out.
        place: Where a random crop lies in the space there is for it, `(vertical, horizontal)` each in [0, 1).
    """

    flipped: bool
    dropped: bool
    place: tuple[float, float]

    @classmethod
    def of(cls, row: int, epoch: int, flip: bool, caption_dropout: float) -> "RowChoices":
        """Draw; each choice has a stream of its own, so that one option does not move the draws of another.

        Args:
            row: Its number in the data set.
            epoch: The pass over the data, modulo the draw cycle.
            flip: Whether half of all rows are mirrored.
            caption_dropout: The share of rows whose prompt is left out.
        """
        vertical, horizontal = _uniform(row, epoch, "crop", 2)
        return cls(
            flipped=flip and _uniform(row, epoch, "flip")[0] < 0.5,
            dropped=_uniform(row, epoch, "caption dropout")[0] < caption_dropout,
            place=(vertical, horizontal),
        )


PLAIN = RowChoices(flipped=False, dropped=False, place=(0.5, 0.5))
"""A medium as it is, cropped in the middle, under its own prompt."""


def drawn_cells(
    examples: Sequence[Example],
    rows: Sequence[int],
    choose: Callable[[int], RowChoices],
    show: Callable[[DiffusionCell, RowChoices], DiffusionCell],
) -> list[Example]:
    """The examples as an epoch shows them: the members of a row flipped, cropped and captioned alike.

    Args:
        examples: As encoded.
        rows: Their numbers in the data set.
        choose: From a row's number to what is drawn for it.
        show: Crops and mirrors a cell's medium.
    """
    drawn = []
    for example, row in zip(examples, rows, strict=True):
        choices = choose(row)
        cells = [show(cell, choices) for cell in example.cells]
        if choices.dropped:
            cells = [replace(cell, prompt="", dropped=cell.prompt) for cell in cells]
        drawn.append(replace(example, cells=tuple(cells)))
    return drawn


def _uniform(row: int, epoch: int, purpose: str, count: int = 1) -> list[float]:
    source = generator(run_seed(), epoch, row, purpose)
    drawn: list[float] = torch.rand(count, generator=source, dtype=torch.float64).tolist()
    return drawn
