"""Single images or sounds with a label: thumbs up or down."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.batch import Candidate, Comparison
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import values
from modalign.plugins.formats.media.base import MediaFormat

_LABELS = ("label",)


class MediaThumbs(MediaFormat):
    """A format of rows with a prompt, one response and a label."""

    def matches(self, columns: Mapping[str, Any]) -> bool:
        is_there = self.kind.looks_like(columns.get(self.single(columns)))
        labelled = self.column(columns, "label", _LABELS) in columns and not {"chosen", "rejected"} & set(columns)
        return self.has_prompt(columns) and is_there and labelled

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.POINTWISE})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        response = self.media(row, self.single(row))
        candidate = Candidate(response, score=values.label(row, self.column(row, "label", _LABELS)))
        return [Comparison(self.prompt(row), (candidate,), weight=values.weight(row, self.weight))]
