"""HA-DPO (arXiv 2311.16839): descriptions of Visual Genome's images, and yes/no questions on them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, RowError
from modalign.core.format import Format
from modalign.core.media import Media
from modalign.core.modality import Modality
from modalign.modalities.vision_language.formats.base import same_answer
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.modalities.vision_language.formats.questions import QuestionPairs, are_texts
from modalign.modalities.vision_language.formats.visual_genome import image_paths
from modalign.modalities.vision_language.prompts import Message
from modalign.plugins.formats import values

_IDS = ("image_id", "id")
_DESCRIBE = (
    "Describe this image in detail.",
    "Take a look at this image and describe what you notice.",
    "Please provide a detailed description of the picture.",
    "Could you describe the contents of this image for me?",
)
_RIGHT = "the model's answer was right"
_SAME = "identical responses"

Pair = tuple[Sequence[Message], Sequence[Message]]


class HaDpo(QuestionPairs):
    """Both files of the release: desc_data.json and pope_data.json.

    desc_data.json is one object by image id, each with the lists `chosen` and `rejected` of descriptions: a row makes
    a pair of every two. pope_data.json has `image_id`, `question`, `chosen` and `reject`; rows whose `correct` is true,
    in which the model said nothing to mend, are left out, counted, as the authors do.

    The path of an image is made of its id, unless the row has an `image`.

    Args:
        pattern: The path of an image, from `root`, with `{id}` in the place of its id.
        image_data: Visual Genome's image_data.json, which knows the folder and the name of each image; in the place of
            `pattern`.
        questions: What descriptions answer: one of these for each pair, drawn by its content; None for the authors'.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.

    Raises:
        ConfigError: `pattern` has no `{id}`, or stands beside `image_data`; or `questions` is empty.
    """

    name = "ha_dpo"
    wants: ClassVar[str] = "id, and chosen and rejected, lists of descriptions; or image_id, question, chosen, reject"

    def __init__(
        self,
        pattern: str | None = None,
        image_data: str | None = None,
        questions: list[str] | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        if pattern is not None and "{id}" not in pattern:
            raise ConfigError(f"The format's pattern is {pattern!r}.", "Write {id} where an image's id stands.")
        if pattern is not None and image_data is not None:
            raise ConfigError("The format has both a pattern and image_data.", "Remove one of them.")
        if questions is not None and not any(question.strip() for question in questions):
            raise ConfigError("The format's questions are empty.", "Write one at least, or leave the option out.")
        super().__init__(root, allow_urls, weight)
        self.pattern, self.image_data = pattern or "{id}.jpg", image_data
        self.questions = tuple(questions) if questions is not None else _DESCRIBE

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        if self.image_data is not None:
            image_paths(self.image_data)
        return super().resolve(columns, source, modality)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        has_id = any(name in columns for name in _IDS)
        asked = are_texts(columns, ("question", CHOSEN, "reject"))
        return has_id and (asked or all(_are_descriptions(columns.get(side)) for side in (CHOSEN, REJECTED)))

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        images = self._images(row)
        if "question" in row:
            return [] if _was_right(row) else [self._question_pair(row, images)]
        pairs = [pair for pair in _described(row) if not same_answer(*pair)]
        if not pairs:
            raise RowError(f"{_SAME}: they say nothing of what is preferred", "Remove the row.", REJECTED)
        return [self.pair(row, self.ask(self._question(pair), images, "questions"), pair) for pair in pairs]

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        if "question" in row:
            return {_RIGHT: 1} if _was_right(row) else {}
        same = sum(same_answer(*pair) for pair in _described(row))
        return {_SAME: same} if same else {}

    def _question_pair(self, row: Mapping[str, Any], images: Sequence[Media]) -> Comparison:
        prompt = self.ask(self.text(row, "question"), images, "question")
        answers = self.answer(row, CHOSEN), self.answer(row, "reject")
        return self.pair(row, prompt, answers, (CHOSEN, "reject"))

    def _question(self, pair: Pair) -> str:
        return self.questions[int(content_hash([list(said) for said in pair]), 16) % len(self.questions)]

    def _images(self, row: Mapping[str, Any]) -> list[Media]:
        if row.get("image") is not None:
            return self.required_media(row, "image")
        column = next((name for name in _IDS if row.get(name) is not None), _IDS[0])
        number = values.required(row, column)
        if isinstance(number, bool) or not isinstance(number, str | int):
            raise RowError(f"not an image id: {values.shown(number)}", "Write a number.", column)
        if self.image_data is None:
            return [self.medium(self.pattern.replace("{id}", str(number)), column)]
        known = image_paths(self.image_data)
        if str(number) not in known:
            raise RowError(f"unknown image: {self.image_data} has no image {number}", "Remove the row.", column)
        return [self.medium(known[str(number)], column)]


def _are_descriptions(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _described(row: Mapping[str, Any]) -> Iterator[Pair]:
    """Every chosen with every rejected description."""
    yield from product(_descriptions(row, CHOSEN), _descriptions(row, REJECTED))


def _descriptions(row: Mapping[str, Any], side: str) -> list[list[Message]]:
    return [
        as_answer(values.text(said, f"{side}[{number}]"), f"{side}[{number}]")
        for number, said in enumerate(values.items(values.required(row, side), side))
    ]


def _was_right(row: Mapping[str, Any]) -> bool:
    return row.get("correct") is not None and values.label(row, "correct") == 1.0
