"""RLHF-V (arXiv 2312.00849): an image, and a text that is JSON of a question and two answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import RowError
from modalign.modalities.vision_language.formats.questions import SIDES, QuestionPairs
from modalign.plugins.formats.images import looks_like_image
from modalign.plugins.formats.values import required, shown

_KEYS = ("question", *SIDES)
_CURE = 'Write {"question": ..., "chosen": ..., "rejected": ...} as JSON text, or remove the row.'


class RlhfV(QuestionPairs):
    """`image`, and `text`: JSON text (or a mapping) with `question`, `chosen` and `rejected`.

    Args:
        image: The column with the image, where it is called otherwise.
        text: The column with the JSON text, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "rlhf_v"
    wants: ClassVar[str] = "image; text, which is JSON of question, chosen and rejected"

    def __init__(
        self,
        image: str | None = None,
        text: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(root, allow_urls, weight, image=image, text=text)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        try:
            says_all = set(_KEYS) <= set(_decoded(columns.get("text"), "text"))
        except RowError:
            return False
        return says_all and looks_like_image(columns.get(self.images_column(columns)))

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        column = self.column(row, "text", ("text",))
        said = _decoded(required(row, column), column)
        try:
            return [self.question_pair(row, said, _KEYS)]
        except RowError as error:
            if error.column in _KEYS:
                error.column = f"{column}.{error.column}"
            raise


def _decoded(value: Any, column: str) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowError(f"not valid JSON: {error}", _CURE, column) from None
    if not isinstance(value, Mapping):
        raise RowError(f"not a mapping: {shown(value)}", _CURE, column)
    return value
