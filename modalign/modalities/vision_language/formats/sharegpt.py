"""ShareGPT conversations with a ranked pair, as LLaMA-Factory has them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import VisionFormat
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.modalities.vision_language.formats.dialogue import (
    dialogue,
    looks_like_dialogue,
    looks_like_turn,
    spoken,
)
from modalign.plugins.formats.chat import Message
from modalign.plugins.formats.pairs import PAIR_FEEDBACK
from modalign.plugins.formats.values import required, text

_IMAGES = ("images", "image")
_CONVERSATIONS = ("conversations", "messages")


class ShareGpt(VisionFormat):
    """`conversations` (or `messages`), the turns before the answer; `chosen` and `rejected`; and `images`.

    Turns are written with `from` and `value` or with `role` and `content`; the answers are a turn, a list of turns, or
    text. `<image>` stands in the text where an image is shown. `system`, where there is one, comes first.

    Args:
        conversations: The column with the turns, where it is called otherwise.
        chosen: The column with the better answer, where it is called otherwise.
        rejected: The column with the other answer, where it is called otherwise.
        images: The column with the images, where it is called otherwise.
        system: The column with the system message, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "sharegpt"
    wants: ClassVar[str] = "conversations (or messages), a list of turns; chosen and rejected, a turn each; images"

    def __init__(
        self,
        conversations: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        images: str | None = None,
        system: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root,
            allow_urls,
            weight,
            conversations=conversations,
            chosen=chosen,
            rejected=rejected,
            images=images,
            system=system,
        )

    def matches(self, columns: Mapping[str, Any]) -> bool:
        answers = [columns.get(side) for side in (CHOSEN, REJECTED)]
        asked = looks_like_dialogue(columns.get(self.column(columns, "conversations", _CONVERSATIONS)))
        return (
            asked
            and "prompt" not in columns
            and all(
                looks_like_turn(answer) or looks_like_dialogue(answer) or isinstance(answer, str) for answer in answers
            )
        )

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        column = self.column(row, "conversations", _CONVERSATIONS)
        turns = self._system(row) + dialogue(required(row, column), column)
        prompt = self.ask(turns, self.media(row, self.column(row, "images", _IMAGES)), column)
        sides = self.column(row, "chosen", (CHOSEN,)), self.column(row, "rejected", (REJECTED,))
        better, worse = (as_answer(spoken(required(row, side), side), side) for side in sides)
        return [self.pair(row, prompt, (better, worse), sides)]

    def _system(self, row: Mapping[str, Any]) -> list[Message]:
        column = self.column(row, "system", ("system",))
        said = row.get(column)
        return [{"role": "system", "content": text(said, column)}] if said else []
