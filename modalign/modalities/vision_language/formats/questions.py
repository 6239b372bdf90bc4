"""What the formats share whose rows hold images, one question as text, and two answers as text."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import VisionFormat
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.plugins.formats.pairs import PAIR_FEEDBACK

SIDES = (CHOSEN, REJECTED)


class QuestionPairs(VisionFormat):
    """A format of pairs whose every row has at least one image and a question as text.

    Attributes:
        images_are_called: What the column of the images may be called.
    """

    images_are_called: ClassVar[tuple[str, ...]] = ("image", "images", "image_path")

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return PAIR_FEEDBACK

    def images_column(self, row: Mapping[str, Any]) -> str:
        return self.column(row, "image", self.images_are_called)

    def question_pair(
        self,
        row: Mapping[str, Any],
        asked: Mapping[str, Any],
        columns: tuple[str, str, str],
        scores: tuple[float | None, float | None] = (None, None),
    ) -> Comparison:
        """The pair of a row.

        Args:
            row: Where the images and the weight are.
            asked: Where the question and its answers are.
            columns: Those of the question, the better answer and the other one.
            scores: The answers' ratings, where there are any.

        Raises:
            RowError: Something is missing, of a wrong type or empty, or both answers are the same.
        """
        question, *sides = columns
        prompt = self.ask(self.text(asked, question), self.required_media(row, self.images_column(row)), question)
        chosen, rejected = (as_answer(self.text(asked, side), side) for side in sides)
        return self.pair(row, prompt, (chosen, rejected), (sides[0], sides[1]), scores)


def are_texts(columns: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether all of these columns are there, with text in them."""
    return all(isinstance(columns.get(name), str) for name in names)
