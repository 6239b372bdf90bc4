"""SymMPO (arXiv 2506.11712): two similar images, one question, and the answers to each."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.modalities.vision_language.formats.base import OTHER_IMAGES, OTHER_RESPONSE
from modalign.modalities.vision_language.formats.questions import QuestionPairs, are_texts

_ANSWERS = ("resp_1_w", "resp_1_l", "resp_2_w", "resp_2_l")


class SymMpo(QuestionPairs):
    """`image_1`, `image_2`, `question`, and the answers `resp_1_w`, `resp_1_l` and `resp_2_w`, each text.

    The pair is that of the first image; the second image and its right answer, `resp_2_w`, are the other image and the
    response to it, which `symmpo` compares them with.

    Args:
        both: Make a second comparison of every row with the images exchanged, which takes `resp_2_l` too. SymMPO's own
            loss looks at a row from the first image only.
        question: The column with the question, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "symmpo"
    wants: ClassVar[str] = "image_1 and image_2; question, resp_1_w, resp_1_l and resp_2_w, text"

    def __init__(
        self,
        both: bool = False,
        question: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(root, allow_urls, weight, question=question)
        self.both = both

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return are_texts(columns, ("question", *_ANSWERS[:3])) and all(
            any(name in columns for name in _image_names(number)) for number in (1, 2)
        )

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        return [self._seen_from(row, 1, 2), *([self._seen_from(row, 2, 1)] if self.both else [])]

    def _seen_from(self, row: Mapping[str, Any], own: int, other: int) -> Comparison:
        question = self.column(row, "question", ("question",))
        better, worse, other_better = f"resp_{own}_w", f"resp_{own}_l", f"resp_{other}_w"
        images = {
            number: self.required_media(row, self.column(row, f"image_{number}", _image_names(number)))
            for number in (own, other)
        }
        return self.pair(
            row,
            self.ask(self.text(row, question), images[own], question),
            (self.answer(row, better), self.answer(row, worse)),
            (better, worse),
            extra={OTHER_IMAGES: tuple(images[other]), OTHER_RESPONSE: self.answer(row, other_better)},
        )


def _image_names(number: int) -> tuple[str, str]:
    return f"image_{number}", f"image_path_{number}"
