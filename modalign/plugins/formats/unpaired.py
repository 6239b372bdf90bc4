"""Single responses with a label: thumbs up or down."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Candidate, Comparison
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import content, looks_like_content, response, same_form
from modalign.plugins.formats.text_format import TextFormat


class Unpaired(TextFormat):
    """`prompt`, `completion`, text or conversations, and `label`: true for good, false for bad (or 1 and 0).

    In files without types (CSV), the text "true" or "false" is a label too; elsewhere text never is, since any text but
    the empty one counts as true in Python.

    Args:
        weight: The column with the weight of a row; every row weighs 1 without it.
    """

    name = "unpaired"
    wants: ClassVar[str] = "prompt and completion, text or conversations; label, true or false"

    def __init__(self, weight: str | None = None) -> None:
        self.weight = weight

    def matches(self, columns: Mapping[str, Any]) -> bool:
        has_content = all(looks_like_content(columns.get(name)) for name in ("prompt", "completion"))
        return has_content and "label" in columns and not {"chosen", "rejected"} & set(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.POINTWISE})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        prompt, completion = content(row, "prompt"), content(row, "completion")
        same_form(prompt, completion, "completion")
        candidate = Candidate(response(completion, "completion"), score=values.label(row, "label"))
        return [
            Comparison(prompt, (candidate,), weight=values.weight(row, self.weight), extra=values.extra(row)),
        ]
