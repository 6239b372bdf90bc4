"""POVID (arXiv 2402.11411): two conversations on an image that differ in the last answer."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import RowError
from modalign.modalities.vision_language.formats.chats import as_answer, without_prompt
from modalign.modalities.vision_language.formats.dialogue import dialogue, looks_like_dialogue
from modalign.modalities.vision_language.formats.questions import QuestionPairs
from modalign.plugins.formats.values import required


class Povid(QuestionPairs):
    """`image`, `conversations` and `rejected_conversations`, which repeat the prompt; `<image>` stands in its text.

    Args:
        image: The column with the image, where it is called otherwise.
        conversations: The column with the better conversation, where it is called otherwise.
        rejected_conversations: The column with the other conversation, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "povid"
    wants: ClassVar[str] = "image; conversations and rejected_conversations, lists of turns"

    def __init__(
        self,
        image: str | None = None,
        conversations: str | None = None,
        rejected_conversations: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root,
            allow_urls,
            weight,
            image=image,
            conversations=conversations,
            rejected_conversations=rejected_conversations,
        )

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return all(looks_like_dialogue(columns.get(name)) for name in self._columns(columns))

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        columns = self._columns(row)
        conversations = [dialogue(required(row, column), column) for column in columns]
        try:
            asked, *answers = without_prompt(None, *conversations)
        except RowError as error:
            error.column = columns[1]
            raise
        prompt = self.ask(asked, self.required_media(row, self.images_column(row)), columns[0])
        better, worse = (as_answer(said, column) for said, column in zip(answers, columns, strict=True))
        return [self.pair(row, prompt, (better, worse), columns)]

    def _columns(self, row: Mapping[str, Any]) -> tuple[str, str]:
        better = self.column(row, "conversations", ("conversations",))
        return better, self.column(row, "rejected_conversations", ("rejected_conversations",))
