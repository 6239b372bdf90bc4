"""RLAIF-V (arXiv 2405.17220) and SPA-VL (arXiv 2406.12030): an image, a question and two answers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.modalities.vision_language.formats.questions import SIDES, QuestionPairs, are_texts
from modalign.plugins.formats.images import looks_like_image, looks_like_images


class RlaifV(QuestionPairs):
    """`image`, `question`, `chosen` and `rejected`, the last three text; an `<image>` tag may stand in the question.

    Args:
        image: The column with the image, where it is called otherwise.
        question: The column with the question, where it is called otherwise.
        chosen: The column with the better answer, where it is called otherwise.
        rejected: The column with the other answer, where it is called otherwise.
        chosen_score: A column with the rating of the better answer.
        rejected_score: A column with the rating of the other one.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "rlaif_v"
    wants: ClassVar[str] = "image; question, chosen and rejected, text; and no prompt"

    def __init__(
        self,
        image: str | None = None,
        question: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        chosen_score: str | None = None,
        rejected_score: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root,
            allow_urls,
            weight,
            image=image,
            question=question,
            chosen=chosen,
            rejected=rejected,
            chosen_score=chosen_score,
            rejected_score=rejected_score,
        )

    def matches(self, columns: Mapping[str, Any]) -> bool:
        image = columns.get(self.images_column(columns))
        shown = looks_like_image(image) or looks_like_images(image)
        return shown and are_texts(columns, ("question", *SIDES)) and "prompt" not in columns

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        columns = (
            self.column(row, "question", ("question",)),
            self.column(row, "chosen", (CHOSEN,)),
            self.column(row, "rejected", (REJECTED,)),
        )
        return [self.question_pair(row, row, columns, self.scores(row))]
