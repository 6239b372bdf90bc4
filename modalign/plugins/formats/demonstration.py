"""Responses to imitate: the data of supervised fine-tuning."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import (
    Content,
    content,
    looks_like_chat,
    looks_like_content,
    looks_like_text,
    response,
    same_form,
)
from modalign.plugins.formats.text_format import TextFormat

_OTHER_FORMATS = frozenset({"chosen", "rejected", "label", "labels", "completions", "responses"})


class Demonstration(TextFormat):
    """`prompt` and `completion`, text or conversations; or `messages`; or `text`.

    Of `messages`, the last one is the response and all before it the prompt: earlier answers are not learned. Of
    `text`, all of it is the response to an empty prompt.

    Args:
        weight: The column with the weight of a row; every row weighs 1 without it.
    """

    name = "demonstration"
    wants: ClassVar[str] = "prompt and completion; or messages; or text; and no label, chosen or rejected"

    def __init__(self, weight: str | None = None) -> None:
        self.weight = weight

    def matches(self, columns: Mapping[str, Any]) -> bool:
        answered = all(looks_like_content(columns.get(name)) for name in ("prompt", "completion"))
        alone = looks_like_chat(columns.get("messages")) or looks_like_text(columns.get("text"))
        return (answered or alone) and not _OTHER_FORMATS & set(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.DEMONSTRATION})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        prompt, completion, column = _split(row)
        candidate = Candidate(response(completion, column), CHOSEN)
        weight = values.weight(row, self.weight)
        return [Comparison(prompt, (candidate,), weight=weight, extra=values.extra(row))]


def _split(row: Mapping[str, Any]) -> tuple[Content, Content, str]:
    """Prompt, response, and the column that the response is from."""
    if "completion" not in row and "messages" in row:
        messages = content(row, "messages")
        if isinstance(messages, str) or len(messages) < 2:
            raise RowError(
                "not a conversation with a prompt and a response",
                'Write at least two messages, each as {"role": ..., "content": ...}.',
                "messages",
            )
        return messages[:-1], messages[-1:], "messages"
    if "completion" not in row and "text" in row:
        return "", values.text(values.required(row, "text"), "text"), "text"
    prompt, completion = content(row, "prompt"), content(row, "completion")
    same_form(prompt, completion, "completion")
    return prompt, completion, "completion"
