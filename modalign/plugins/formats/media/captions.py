"""Images or sounds with captions, to imitate: the data of supervised fine-tuning."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.batch import CHOSEN, Candidate, Comparison
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import values
from modalign.plugins.formats.media.base import MediaFormat

_OTHER_FORMATS = frozenset({"label", "rank", "ranks", "scores", "chosen", "rejected"})


class MediaCaptions(MediaFormat):
    """A format of rows with a prompt and one response."""

    def matches(self, columns: Mapping[str, Any]) -> bool:
        is_there = self.kind.looks_like(columns.get(self.single(columns)))
        return self.has_prompt(columns) and is_there and not _OTHER_FORMATS & set(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.DEMONSTRATION})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        candidate = Candidate(self.media(row, self.single(row)), CHOSEN)
        return [Comparison(self.prompt(row), (candidate,), weight=values.weight(row, self.weight))]
