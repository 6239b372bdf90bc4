"""Single responses with a label, as TRL has them for prompts with media: thumbs up or down."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.batch import Candidate, Comparison
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import MediaPromptFormat
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import content, looks_like_content


class MediaUnpaired(MediaPromptFormat):
    """A format of single answers with labels to prompts with media; see `VisionUnpaired`."""

    def matches(self, columns: Mapping[str, Any]) -> bool:
        answered = all(looks_like_content(columns.get(name)) for name in ("prompt", "completion"))
        return answered and "label" in columns and self.may_hold_media(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.POINTWISE})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        asked, answered = self.column(row, "prompt", ("prompt",)), self.column(row, "completion", ("completion",))
        prompt = self.ask(content(row, asked), self.media(row, self.media_column(row)), asked)
        score = values.label(row, self.column(row, "label", ("label",)))
        candidate = Candidate(as_answer(content(row, answered), answered), score=score)
        return [
            Comparison(prompt, (candidate,), weight=values.weight(row, self.weight), extra=values.extra(row)),
        ]
