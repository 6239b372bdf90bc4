"""A modality that answers prompts with one image by naming the colour it sees; and how to kill it while it does."""

import os
import signal
from collections.abc import Sequence
from typing import Any

from torch import nn

from modalign.core.errors import RowError
from modalign.modalities.image.decoding import decode_image
from modalign.modalities.vision_language.prompts import images_of
from tests.modalities.vision_language.build.scenes import COLOURS
from tests.toy import Letters

KILL_AFTER = "TELLER_KILL_AFTER"
"""Variable of the environment: after how many prompts the process kills itself."""


class Teller(Letters):
    name = "teller"
    reads = frozenset({"vision_language"})

    def __init__(self, blind: bool = False) -> None:
        super().__init__()
        self.blind = blind
        self.asked: list[Any] = []

    def sample(self, model: nn.Module, prompts: Any, n: int = 1, seed: int = 0, **options: Any) -> list[list[Any]]:
        self.asked += prompts
        if len(self.asked) >= int(os.environ.get(KILL_AFTER, "1000000")):
            os.kill(os.getpid(), signal.SIGKILL)
        return [[self._answer(prompt)] for prompt in prompts]

    def _answer(self, prompt: Sequence[Any]) -> list[dict[str, str]]:
        (image,) = images_of(prompt)
        if "unanswerable" in str(prompt):
            raise RowError("the prompt does not fit: it has 900 tokens", "Shorten it.")
        colour = "grey" if self.blind else seen_colour(image)
        return [{"role": "assistant", "content": f"It is {colour}."}]


def seen_colour(image: Any) -> str:
    """The colour of the shape in a scene."""
    rgb = decode_image(image).getcolors(4096)
    hues = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
    assert rgb is not None
    shown = {colour for _, colour in rgb}
    return next((name for name in COLOURS if hues[name] in shown), "grey")
