"""Pairs as TRL has them for prompts with media: `prompt`, `chosen`, `rejected`, and a column of images or sounds."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import OTHER_RESPONSE, MediaPromptFormat
from modalign.modalities.vision_language.formats.chats import as_answer, without_prompt
from modalign.plugins.formats.chat import Content, content, looks_like_content
from modalign.plugins.formats.pairs import PAIR_FEEDBACK

OTHER, REJECTED_OWN = "other_", "rejected_"
"""What the names of columns begin with that hold other media, and those of the rejected response."""


class MediaPreference(MediaPromptFormat):
    """A format of pairs of answers to prompts with media; see `VisionPreference`."""

    def matches(self, columns: Mapping[str, Any]) -> bool:
        has_pair = looks_like_content(columns.get(CHOSEN)) and self._has_rejected(columns)
        return has_pair and self.may_hold_media(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        asked, chosen, rejected = self._texts(row)
        asked, media = self.written_media(asked)
        media += self.media(row, self.media_column(row))
        column = self.column(row, "prompt", ("prompt",))
        prompt = self.ask(asked, media, column)
        own = self.media_column(row, REJECTED_OWN)
        context = self.ask(asked, self.media(row, own), column) if row.get(own) is not None else None
        columns = self.column(row, "chosen", (CHOSEN,)), self.column(row, "rejected", (REJECTED,))
        answers = as_answer(chosen, columns[0]), as_answer(rejected, columns[1])
        others = self._others(row, len(media))
        return [self.pair(row, prompt, answers, columns, self.scores(row), context, others)]

    def written_media(self, prompt: Content) -> tuple[Content, list[Media]]:
        """The prompt with tags in the places of media that its text names, and these media.

        Raises:
            RowError: They cannot be looked for.
        """
        return prompt, []

    def _texts(self, row: Mapping[str, Any]) -> tuple[Content, Content, Content]:
        """The prompt and both responses, the rejected one the chosen one where only media differ."""
        columns = {side: self.column(row, side, (side,)) for side in ("prompt", CHOSEN, REJECTED)}
        prompt = content(row, columns["prompt"]) if columns["prompt"] in row else None
        chosen = content(row, columns[CHOSEN])
        has_own_media = row.get(self.media_column(row, REJECTED_OWN)) is not None
        is_same = has_own_media and row.get(columns[REJECTED]) is None
        rejected = chosen if is_same else content(row, columns[REJECTED])
        return without_prompt(prompt, chosen, rejected, kind=self.kind.type)

    def _others(self, row: Mapping[str, Any], count: int) -> dict[str, Any]:
        column = self.media_column(row, OTHER)
        others = self.media(row, column)
        if others and len(others) != count:
            noun = self.kind.name
            raise RowError(
                f"{len(others)} other {noun}s for a prompt with {count}", "Give as many, or leave them out.", column
            )
        answer = self.column(row, "other_response", (OTHER_RESPONSE,))
        media = {f"{OTHER}{self.kind.type}s": tuple(others)} if others else {}
        return media if row.get(answer) is None else {**media, OTHER_RESPONSE: self.answer(row, answer)}

    def _has_rejected(self, columns: Mapping[str, Any]) -> bool:
        own_media = any(columns.get(name) is not None for name in self.called(REJECTED_OWN))
        return looks_like_content(columns.get(REJECTED)) or (columns.get(REJECTED) is None and own_media)
