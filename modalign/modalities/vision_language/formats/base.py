"""What the formats share whose prompts hold media and whose responses are text: columns, media, pairs."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, OTHER_PROMPT, REJECTED, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.modalities.vision_language.formats.chats import as_answer, chat_with_media
from modalign.modalities.vision_language.prompts import Message, media_of
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import Content, as_content
from modalign.plugins.formats.images import IMAGE
from modalign.plugins.formats.media.kind import MediaKind
from modalign.plugins.formats.named_columns import NamedColumns

_CHOSEN_SCORES = ("chosen_score", "score_chosen", "reward_chosen")
_REJECTED_SCORES = ("rejected_score", "score_rejected", "reward_rejected")
OTHER_IMAGES = "other_images"
OTHER_RESPONSE = "other_response"


class MediaPromptFormat(NamedColumns):
    """A format whose prompts hold images or sounds and whose responses are text.

    Attributes:
        kind: What the prompts hold; `kind.type` is the type of their parts, and what columns are called by.

    Args:
        root: The folder that relative paths of media start from; the folder of the data file where None.
        allow_urls: Whether media at http and https addresses are fetched, once each; otherwise such rows are refused.
        weight: The column with the weight of a row; every row weighs 1 without it.
        named: For each thing the format reads, the column that an option names for it; None where none does.
    """

    kind: ClassVar[MediaKind]

    def __init__(self, root: str | None, allow_urls: bool, weight: str | None, **named: str | None) -> None:
        super().__init__(**named, weight=weight)
        self.root, self.allow_urls, self.weight = root, allow_urls, weight

    def medium(self, value: Any, column: str) -> Media:
        """A value as an image or sound.

        Raises:
            RowError: It is none.
        """
        return self.kind.read(value, column, self.root, self.allow_urls)

    def media(self, row: Mapping[str, Any], column: str) -> list[Media]:
        """The media of a column with one or a list of them; none where it is missing or has no value.

        Raises:
            RowError: Something in it is of another kind.
        """
        value = row.get(column)
        if value is None:
            return []
        if isinstance(value, list):
            return [self.medium(item, f"{column}[{number}]") for number, item in enumerate(value)]
        return [self.medium(value, column)]

    def required_media(self, row: Mapping[str, Any], column: str) -> list[Media]:
        """The media of a column that every row must have, one at least.

        Raises:
            RowError: It is missing or empty, or something in it is of another kind.
        """
        value = values.required(row, column)
        if value == []:
            raise RowError(f"no {self.kind.name}: the list is empty", "Fill it in, or remove the row.", column)
        return self.media(row, column)

    def media_column(self, row: Mapping[str, Any], before: str = "") -> str:
        """The column of the prompt's media, or of those that `before` tells: `images`, `image`, `other_images`..."""
        return self.column(row, f"{before}{self.kind.type}s", self.called(before))

    def called(self, before: str = "") -> Sequence[str]:
        """What that column may be called."""
        return f"{before}{self.kind.type}s", f"{before}{self.kind.type}"

    def may_hold_media(self, columns: Mapping[str, Any]) -> bool:
        """Whether there is a column of media, that of a row without any included."""
        column = self.media_column(columns)
        value = columns.get(column)
        meant = value is None or value == [] or self.kind.looks_like(value) or self.kind.looks_like_several(value)
        return column in columns and meant

    def text(self, row: Mapping[str, Any], column: str) -> str:
        """The text of a column that every row must have.

        Raises:
            RowError: It is missing or no text.
        """
        return values.text(values.required(row, column), column)

    def answer(self, row: Mapping[str, Any], column: str) -> list[Message]:
        """The response in a column, text or messages.

        Raises:
            RowError: It is missing, empty or malformed.
        """
        return as_answer(as_content(values.required(row, column), column), column)

    def score(self, row: Mapping[str, Any], column: str) -> float | None:
        """The number in a column; None where it is missing or has no value.

        Raises:
            RowError: It is something else.
        """
        value = row.get(column)
        return None if value is None else values.number(row, value, column)

    def scores(self, row: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """The ratings of the better response and of the other, where the row has them.

        Raises:
            RowError: One is no number.
        """
        chosen = self.column(row, "chosen_score", _CHOSEN_SCORES)
        rejected = self.column(row, "rejected_score", _REJECTED_SCORES)
        return self.score(row, chosen), self.score(row, rejected)

    def ask(self, prompt: Content, media: Sequence[Media], column: str) -> list[Message]:
        """The prompt with its media; see `chat_with_media`.

        Raises:
            RowError: They do not fit together, or there is no text.
        """
        return chat_with_media(prompt, media, column, self.kind, self.root, self.allow_urls)

    def pair(
        self,
        row: Mapping[str, Any],
        prompt: Sequence[Message],
        answers: tuple[Sequence[Message], Sequence[Message]],
        columns: tuple[str, str] = (CHOSEN, REJECTED),
        scores: tuple[float | None, float | None] = (None, None),
        rejected_context: Sequence[Message] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Comparison:
        """A comparison of two responses, or of two media; another prompt that the row holds asks of the same media.

        Args:
            row: Where the weight and the like are.
            prompt: What both answer.
            answers: The better one and the other.
            columns: Where they are, for messages.
            scores: Their ratings, where there are any.
            rejected_context: The prompt of the other one, where it has its own.
            extra: Entries of `Comparison.extra`.

        Raises:
            RowError: Both are the same, the images do not fit the other prompt, or the weight cannot be read.
        """
        if same_answer(*answers) and (rejected_context is None or rejected_context == prompt):
            raise RowError("identical responses: they say nothing of what is preferred", "Remove the row.", columns[1])
        chosen = Candidate(answers[0], CHOSEN, scores[0])
        rejected = Candidate(answers[1], REJECTED, scores[1], rejected_context)
        beside = {**values.extra(row), **(extra or {})}
        if OTHER_PROMPT in beside:
            other = as_content(beside[OTHER_PROMPT], OTHER_PROMPT)
            beside[OTHER_PROMPT] = self.ask(other, media_of(prompt, self.kind.type), OTHER_PROMPT)
        return Comparison(prompt, (chosen, rejected), weight=values.weight(row, self.weight), extra=beside)


def same_answer(first: Sequence[Message], second: Sequence[Message]) -> bool:
    """Whether two responses say the same, blanks at their ends aside."""
    return list(map(_stripped, first)) == list(map(_stripped, second))


def _stripped(message: Message) -> Message:
    return {**message, "content": message["content"].strip()}


class VisionFormat(MediaPromptFormat):
    """A format whose prompts hold images and whose responses are text; see `MediaPromptFormat` for its arguments."""

    modalities: ClassVar[frozenset[str]] = frozenset({"vision_language"})
    kind: ClassVar[MediaKind] = IMAGE
