"""VLFeedback (arXiv 2312.10665) and BPO (arXiv 2403.08730): several answers to a question, with ratings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import VisionFormat, same_answer
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.modalities.vision_language.prompts import Message
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import as_content
from modalign.plugins.formats.images import looks_like_image, looks_like_images
from modalign.plugins.formats.pairs import PAIR_FEEDBACK
from modalign.plugins.formats.splitting import Pairs, Scored, Splitting, Ties

_IMAGES = ("img_path", "image", "images", "image_path")
_PROMPTS = ("prompt", "question")
_UNRATED = "answer without a rating"
_CURE = 'Write a list of {"response": ..., "annotations": {aspect: {"Rating": ...}}}, or with "score" in their place.'


class VlFeedback(VisionFormat):
    """`prompt`, `img_path` (or `image`), and `completions`: answers with a rating for each aspect, or with a score.

    A completion has a `response`, and `annotations`, whose aspects each have a `Rating`, as in VLFeedback; or a
    `score`, as in BPO. They come as a list, or as a mapping of lists, which the `datasets` library makes of one. The
    score of an answer is the mean of its ratings. An answer with a rating that is no number ("N/A") is left out,
    counted, as by the authors.

    Args:
        pairs: What to make of a list. `none`: one comparison of all its answers, for listwise objectives. `best_worst`:
            the best and the worst; of several best ones the first, of several worst ones the last. `best_vs_rest`: the
            best with each other one. `all`: every two, as the authors do.
        ties: Answers with equal scores make no pair: `skip` leaves it out, counted; `error` refuses the row. With
            `pairs: none`, `skip` leaves out lists of equal scores only, and `error` refuses any two equal ones.
        min_gap: Scores must differ by at least this much to make a pair; others are left out, counted.
        aspects: The aspects whose ratings count; None for all that a completion has.
        prompt: The column with the prompt, where it is called otherwise.
        image: The column with the image, where it is called otherwise.
        completions: The column with the answers, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.

    Raises:
        ConfigError: An option is out of range or has no effect.
    """

    name = "vlfeedback"
    wants: ClassVar[str] = "prompt; img_path or image; completions, with responses and annotations (or scores)"

    def __init__(
        self,
        pairs: Pairs = "all",
        ties: Ties = "skip",
        min_gap: float = 0.0,
        aspects: list[str] | None = None,
        prompt: str | None = None,
        image: str | None = None,
        completions: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(root, allow_urls, weight, prompt=prompt, image=image, completions=completions)
        self.splitting = Splitting(pairs, ties, min_gap, same_answer)
        self.aspects = aspects

    def matches(self, columns: Mapping[str, Any]) -> bool:
        image = columns.get(self.column(columns, "image", _IMAGES))
        answers = columns.get("completions")
        first = answers[0] if isinstance(answers, list) and answers else answers
        is_rated = isinstance(first, Mapping) and "response" in first and bool({"annotations", "score"} & set(first))
        asked = isinstance(columns.get(self.column(columns, "prompt", _PROMPTS)), str)
        return asked and is_rated and (looks_like_image(image) or looks_like_images(image))

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.LISTWISE}) if self.splitting.pairs == "none" else PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        scored, _ = self._scored(row)
        prompt = self._prompt(row)
        usable = self.splitting.usable(scored, self._answers_column(row)) if len(scored) > 1 else []
        if self.splitting.pairs == "none":
            candidates = tuple(Candidate(each.response, score=each.score) for each in scored)
            weight = values.weight(row, self.weight)
            return [Comparison(prompt, candidates, weight=weight, extra=values.extra(row))] if usable else []
        return [
            self.pair(
                row,
                prompt,
                (better.response, worse.response),
                (better.column, worse.column),
                (better.score, worse.score),
            )
            for better, worse in usable
        ]

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        scored, unrated = self._scored(row)
        return +(Counter({_UNRATED: unrated}) + (self.splitting.left_out(scored) if len(scored) > 1 else Counter()))

    def _answers_column(self, row: Mapping[str, Any]) -> str:
        return self.column(row, "completions", ("completions",))

    def _prompt(self, row: Mapping[str, Any]) -> list[Message]:
        column = self.column(row, "prompt", _PROMPTS)
        asked = as_content(values.required(row, column), column)
        return self.ask(asked, self.required_media(row, self.column(row, "image", _IMAGES)), column)

    def _scored(self, row: Mapping[str, Any]) -> tuple[list[Scored], int]:
        """The answers with their scores, and how many others have none.

        Raises:
            RowError: There are fewer than two, or one is malformed.
        """
        column = self._answers_column(row)
        answers = _listed(values.required(row, column), column)
        if len(answers) < 2:
            raise RowError("only one answer: there is nothing to compare", "Add answers, or remove the row.", column)
        scored = []
        for number, answer in enumerate(answers):
            place = f"{column}[{number}]"
            said = as_answer(as_content(_entry(answer, "response", place), f"{place}.response"), f"{place}.response")
            score = self._score(answer, place)
            if score is not None:
                scored.append(Scored(said, score, place))
        return scored, len(answers) - len(scored)

    def _score(self, answer: Mapping[str, Any], place: str) -> float | None:
        """The mean rating of an answer, or its score; None where that is no number."""
        if answer.get("annotations") is None:
            return _number(_entry(answer, "score", place), f"{place}.score")
        annotations = answer["annotations"]
        if not isinstance(annotations, Mapping) or not annotations:
            raise RowError(f"not annotations: {values.shown(annotations)}", _CURE, f"{place}.annotations")
        ratings = []
        for aspect in self.aspects or list(annotations):
            where = f"{place}.annotations.{aspect}"
            ratings.append(_number(_entry(_entry(annotations, aspect, place), "Rating", where), where))
        known = [rating for rating in ratings if rating is not None]
        return sum(known) / len(known) if len(known) == len(ratings) else None


def _listed(value: Any, column: str) -> list[Mapping[str, Any]]:
    """Completions as a list of mappings, also where they are written as a mapping of lists."""
    if isinstance(value, Mapping):
        lengths = {len(part) for part in value.values() if isinstance(part, list)}
        if len(lengths) != 1 or not all(isinstance(part, list) for part in value.values()):
            raise RowError("lists of different lengths: not completions", _CURE, column)
        value = [dict(zip(value, parts, strict=True)) for parts in zip(*value.values(), strict=True)]
    answers = values.items(value, column)
    for number, answer in enumerate(answers):
        if not isinstance(answer, Mapping):
            raise RowError(f"not a completion: {values.shown(answer)}", _CURE, f"{column}[{number}]")
    return answers


def _entry(mapping: Any, key: str, place: str) -> Any:
    if not isinstance(mapping, Mapping) or mapping.get(key) is None:
        there = ", ".join(map(str, mapping)) if isinstance(mapping, Mapping) else values.shown(mapping)
        raise RowError(f"missing key: {key!r}; there is {there or 'nothing'}", _CURE, place)
    return mapping[key]


def _number(value: Any, place: str) -> float | None:
    """A rating, which the data set writes as text; None for text that is no number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return values.number({}, value, place)
