"""Responses to imitate, as TRL has them for vision: `messages`, or `prompt` and `completion`, with `images`."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import VisionFormat, may_hold_images
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.modalities.vision_language.formats.vision_preference import IMAGES
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import Content, content, looks_like_chat, looks_like_content

_JUDGED = frozenset({"chosen", "rejected", "label", "labels", "completions", "rejected_images"})


class VisionDemonstration(VisionFormat):
    """`messages`, or `prompt` and `completion` (text or conversations), and `images`, a list, or `image`.

    Of `messages`, the last one is the response and all before it the prompt: earlier answers are not learned. Images
    are placed as for `vision_preference`.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        completion: The column with the response, where it is called otherwise.
        messages: The column with the conversation, where it is called otherwise.
        images: The column with the image or the images, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "vision_demonstration"
    wants: ClassVar[str] = "messages, or prompt and completion; images or image; and no label, chosen or rejected"

    def __init__(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        messages: str | None = None,
        images: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root, allow_urls, weight, prompt=prompt, completion=completion, messages=messages, images=images
        )

    def matches(self, columns: Mapping[str, Any]) -> bool:
        images = self.column(columns, "images", IMAGES)
        answered = all(looks_like_content(columns.get(name)) for name in ("prompt", "completion"))
        has_answer = answered or looks_like_chat(columns.get("messages"))
        return has_answer and images in columns and may_hold_images(columns[images]) and not _JUDGED & set(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.DEMONSTRATION})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        prompt, completion, columns = self._split(row)
        asked = self.ask(prompt, self.images(row, self.column(row, "images", IMAGES)), columns[0])
        candidate = Candidate(as_answer(completion, columns[1]), CHOSEN)
        return [
            Comparison(asked, (candidate,), weight=values.weight(row, self.weight), extra=values.extra(row)),
        ]

    def _split(self, row: Mapping[str, Any]) -> tuple[Content, Content, tuple[str, str]]:
        """Prompt, response, and the columns that they are from."""
        columns = self.column(row, "prompt", ("prompt",)), self.column(row, "completion", ("completion",))
        messages = self.column(row, "messages", ("messages",))
        if columns[1] in row or messages not in row:
            return content(row, columns[0]), content(row, columns[1]), columns
        turns = content(row, messages)
        if isinstance(turns, str) or len(turns) < 2:
            raise RowError(
                "not a conversation with a prompt and a response",
                'Write at least two messages, each as {"role": ..., "content": ...}.',
                messages,
            )
        return turns[:-1], turns[-1:], (messages, messages)
