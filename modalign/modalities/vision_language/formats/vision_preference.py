"""Pairs as TRL has them for vision: `prompt`, `chosen`, `rejected`, and `images` or `image`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import OTHER_IMAGES, OTHER_RESPONSE, VisionFormat, may_hold_images
from modalign.modalities.vision_language.formats.chats import as_answer, without_prompt
from modalign.modalities.vision_language.formats.questions import are_texts
from modalign.modalities.vision_language.prompts import IMAGE_TAG
from modalign.plugins.formats.chat import Content, content, looks_like_content
from modalign.plugins.formats.pairs import PAIR_FEEDBACK

IMAGES = ("images", "image", "image_path", "img_path")
_REJECTED_IMAGES = ("rejected_images", "rejected_image")
_OTHER_IMAGES = ("other_images", "other_image", "retrieved_images", "retrieved_image", "mixed_up_image")
OF_MM_RLHF = frozenset({"video", "is_tie", "mixed_up_image", "chosen_reason", "rejected_reason", "ls_factor"})


class VisionPreference(VisionFormat):
    """`chosen` and `rejected`, text or conversations; mostly `prompt`; and `images`, a list, or `image`, a single one.

    Without a `prompt` column, the prompt is what both responses begin with, as for `trl_preference`. Images fill the
    parts `{"type": "image"}` of the prompt's messages, or its `<image>` tags; without either they stand before the
    user's first text. A row whose images are `[]` or null has none. An image is a path, the bytes of a file, a mapping
    with either, or base64 text.

    With `rejected_images` (as in ms-swift), the rejected response is judged under these. It may then be the text of the
    chosen one, or left out: such a pair is one of images. `other_images` (or `other_image`, `retrieved_image`) are what
    objectives that compare images take the other ones from, and `other_response` is the answer that is right for those.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        chosen: The column with the better response, where it is called otherwise.
        rejected: The column with the other response, where it is called otherwise.
        images: The column with the image or the images, where it is called otherwise.
        rejected_images: The column with the images of the rejected response, where it is called otherwise.
        other_images: The column with other images, where it is called otherwise.
        other_response: The column with the answer to other images, where it is called otherwise.
        chosen_score: The column with the rating of the better response; `chosen_score`, `score_chosen` and
            `reward_chosen` are known.
        rejected_score: The same for the other response.
        separator: What stands between several paths, where a column holds them as one text.
        images_in_prompt: A regular expression that finds images in the text of the prompt, its one group the path:
            `<img>(.*?)</img>` for Qwen's list format. What it matches is taken out of the text.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.

    Raises:
        ConfigError: `images_in_prompt` is no regular expression with one group.
    """

    name = "vision_preference"
    wants: ClassVar[str] = "chosen and rejected, text or conversations; images or image; prompt, unless both begin so"

    def __init__(
        self,
        prompt: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        images: str | None = None,
        rejected_images: str | None = None,
        other_images: str | None = None,
        other_response: str | None = None,
        chosen_score: str | None = None,
        rejected_score: str | None = None,
        separator: str | None = None,
        images_in_prompt: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root,
            allow_urls,
            weight,
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            images=images,
            rejected_images=rejected_images,
            other_images=other_images,
            other_response=other_response,
            chosen_score=chosen_score,
            rejected_score=rejected_score,
        )
        self.separator = separator
        self.images_in_prompt = _pattern(images_in_prompt)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        images = self.column(columns, "images", IMAGES)
        has_pair = looks_like_content(columns.get(CHOSEN)) and self._has_rejected(columns)
        return has_pair and images in columns and may_hold_images(columns[images]) and not _is_anothers(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        asked, chosen, rejected = self._texts(row)
        asked, images = self._written_images(asked)
        images += self.images(row, self.column(row, "images", IMAGES))
        column = self.column(row, "prompt", ("prompt",))
        prompt = self.ask(asked, images, column)
        own = self.column(row, "rejected_images", _REJECTED_IMAGES)
        context = self.ask(asked, self.images(row, own), column) if row.get(own) is not None else None
        columns = self.column(row, "chosen", (CHOSEN,)), self.column(row, "rejected", (REJECTED,))
        answers = as_answer(chosen, columns[0]), as_answer(rejected, columns[1])
        others = self._others(row, len(images))
        return [self.pair(row, prompt, answers, columns, self.scores(row), context, others)]

    def images(self, row: Mapping[str, Any], column: str) -> list[Media]:
        value = row.get(column)
        if self.separator is None or not isinstance(value, str):
            return super().images(row, column)
        return super().images({column: value.split(self.separator)}, column)

    def _texts(self, row: Mapping[str, Any]) -> tuple[Content, Content, Content]:
        """The prompt and both responses, the rejected one the chosen one where only images differ."""
        columns = {side: self.column(row, side, (side,)) for side in ("prompt", CHOSEN, REJECTED)}
        prompt = content(row, columns["prompt"]) if columns["prompt"] in row else None
        chosen = content(row, columns[CHOSEN])
        has_own_images = row.get(self.column(row, "rejected_images", _REJECTED_IMAGES)) is not None
        is_same = has_own_images and row.get(columns[REJECTED]) is None
        return without_prompt(prompt, chosen, chosen if is_same else content(row, columns[REJECTED]))

    def _written_images(self, prompt: Content) -> tuple[Content, list[Media]]:
        """The prompt with tags in the places of images that its text names, and these images."""
        if self.images_in_prompt is None:
            return prompt, []
        column = self.named.get("prompt", "prompt")
        if not isinstance(prompt, str):
            raise RowError("not text: images_in_prompt looks for images in text", "Write the prompt as text.", column)
        paths = self.images_in_prompt.findall(prompt)
        return self.images_in_prompt.sub(IMAGE_TAG, prompt), [self.image(path, column) for path in paths]

    def _others(self, row: Mapping[str, Any], count: int) -> dict[str, Any]:
        column = self.column(row, "other_images", _OTHER_IMAGES)
        others = self.images(row, column)
        if others and len(others) != count:
            raise RowError(
                f"{len(others)} other images for a prompt with {count}", "Give as many, or leave them out.", column
            )
        answer = self.column(row, "other_response", (OTHER_RESPONSE,))
        images = {OTHER_IMAGES: tuple(others)} if others else {}
        return images if row.get(answer) is None else {**images, OTHER_RESPONSE: self.answer(row, answer)}

    def _has_rejected(self, columns: Mapping[str, Any]) -> bool:
        own_images = any(columns.get(name) is not None for name in _REJECTED_IMAGES)
        return looks_like_content(columns.get(REJECTED)) or (columns.get(REJECTED) is None and own_images)


def _is_anothers(columns: Mapping[str, Any]) -> bool:
    """Whether the columns are those of a data set that has a format of its own."""
    if "prompt" not in columns and {"question", "conversations", "messages"} & set(columns):
        return True
    as_text = are_texts(columns, (CHOSEN, REJECTED))
    return columns.get("retrieved_image") is not None or (as_text and bool(OF_MM_RLHF & set(columns)))


def _pattern(written: str | None) -> re.Pattern[str] | None:
    if written is None:
        return None
    try:
        pattern = re.compile(written, re.DOTALL)
    except re.error as error:
        raise ConfigError(f"The format's images_in_prompt is {written!r}: {error}.", _PATTERN_CURE) from None
    if pattern.groups != 1:
        raise ConfigError(f"The format's images_in_prompt, {written!r}, has {pattern.groups} groups.", _PATTERN_CURE)
    return pattern


_PATTERN_CURE = "Write a regular expression whose one group is the path, such as <img>(.*?)</img>."
