"""What the formats of images and of sounds share: names of columns, the folder of the files, pairs."""

from collections.abc import Mapping
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.plugins.formats import values
from modalign.plugins.formats.media.kind import MediaKind, same_media
from modalign.plugins.formats.named_columns import NamedColumns


class MediaFormat(NamedColumns):
    """A format whose responses are images or sounds and whose prompts are text.

    Attributes:
        kind: What its responses are.
        option: The option that names the column of a single response; lists have it with an s.
        known: What that column may be called.
        prompts: What the column of the prompt may be called.

    Args:
        root: The folder that relative paths start from; the folder of the data file where None.
        weight: The column with the weight of a row; every row weighs 1 without it.
        named: For each thing the format reads, the column that an option names for it; None where none does.
    """

    kind: ClassVar[MediaKind]
    option: ClassVar[str]
    known: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[tuple[str, ...]] = ("prompt", "caption", "text", "txt")

    def __init__(self, root: str | None, weight: str | None, **named: str | None) -> None:
        super().__init__(**named, weight=weight)
        self.root, self.weight = root, weight

    def prompt(self, row: Mapping[str, Any]) -> str:
        """The text that the responses show or sound like.

        Raises:
            RowError: It is missing or no text.
        """
        column = self.column(row, "prompt", self.prompts)
        return values.text(values.required(row, column), column)

    def has_prompt(self, columns: Mapping[str, Any]) -> bool:
        """Whether rows with these columns have a text for a prompt."""
        return isinstance(columns.get(self.column(columns, "prompt", self.prompts)), str)

    def media(self, row: Mapping[str, Any], column: str) -> Media:
        """The response in a column.

        Raises:
            RowError: It is missing or of another kind.
        """
        return self.kind.of(row, column, self.root)

    def single(self, row: Mapping[str, Any]) -> str:
        """The column of a row's only response."""
        return self.column(row, self.option, self.known)

    def pair(
        self,
        row: Mapping[str, Any],
        chosen: Media,
        rejected: Media,
        columns: tuple[str, str],
        scores: tuple[float | None, float | None] = (None, None),
        weight: float = 1.0,
    ) -> Comparison:
        """A comparison of two responses to the row's prompt.

        Args:
            row: Where the prompt and the weight are.
            chosen: The better one.
            rejected: The other.
            columns: Where they are, for messages.
            scores: Their ratings, where there are any.
            weight: What the row's own weight is multiplied by.

        Raises:
            RowError: Both are the same, or the prompt or the weight cannot be read.
        """
        if same_media(chosen, rejected):
            raise RowError(
                f"{identical(self.kind)}: they say nothing of what is preferred ({' and '.join(columns)})",
                "Remove the row.",
                columns[1],
            )
        candidates = (Candidate(chosen, CHOSEN, scores[0]), Candidate(rejected, REJECTED, scores[1]))
        return Comparison(self.prompt(row), candidates, weight=weight * values.weight(row, self.weight))


def identical(kind: MediaKind) -> str:
    """What comparisons of one with itself are counted under."""
    return f"identical {kind.name}s"
