"""Responses to imitate, as TRL has them for prompts with media: `messages`, or `prompt` and `completion`."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.batch import CHOSEN, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import MediaPromptFormat
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import Content, content, looks_like_chat, looks_like_content

_JUDGED = frozenset({"chosen", "rejected", "label", "labels", "completions", "rejected_images", "rejected_audios"})


class MediaDemonstration(MediaPromptFormat):
    """A format of answers to imitate to prompts with media; see `VisionDemonstration`."""

    def matches(self, columns: Mapping[str, Any]) -> bool:
        answered = all(looks_like_content(columns.get(name)) for name in ("prompt", "completion"))
        has_answer = answered or looks_like_chat(columns.get("messages"))
        return has_answer and self.may_hold_media(columns) and not _JUDGED & set(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.DEMONSTRATION})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        prompt, completion, columns = self._split(row)
        asked = self.ask(prompt, self.media(row, self.media_column(row)), columns[0])
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
