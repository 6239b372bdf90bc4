"""Pairs as TRL has them for vision: `prompt`, `chosen`, `rejected`, and `images` or `image`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.modalities.vision_language.formats.base import VisionFormat
from modalign.modalities.vision_language.formats.preference import OTHER, REJECTED_OWN, MediaPreference
from modalign.modalities.vision_language.formats.questions import are_texts
from modalign.modalities.vision_language.prompts import IMAGE_TAG
from modalign.plugins.formats.chat import Content

IMAGES = ("images", "image", "image_path", "img_path")
_CALLED = {
    "": IMAGES,
    REJECTED_OWN: ("rejected_images", "rejected_image"),
    OTHER: ("other_images", "other_image", "retrieved_images", "retrieved_image", "mixed_up_image"),
}
OF_MM_RLHF = frozenset({"video", "is_tie", "mixed_up_image", "chosen_reason", "rejected_reason", "ls_factor"})


class VisionPreference(MediaPreference, VisionFormat):
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

    def called(self, before: str = "") -> Sequence[str]:
        """See `MediaPromptFormat.called`."""
        return _CALLED[before]

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return super().matches(columns) and not _is_anothers(columns)

    def media(self, row: Mapping[str, Any], column: str) -> list[Media]:
        value = row.get(column)
        if self.separator is None or not isinstance(value, str):
            return super().media(row, column)
        return super().media({column: value.split(self.separator)}, column)

    def written_media(self, prompt: Content) -> tuple[Content, list[Media]]:
        """See `MediaPreference.written_media`."""
        if self.images_in_prompt is None:
            return prompt, []
        column = self.named.get("prompt", "prompt")
        if not isinstance(prompt, str):
            raise RowError("not text: images_in_prompt looks for images in text", "Write the prompt as text.", column)
        paths = self.images_in_prompt.findall(prompt)
        return self.images_in_prompt.sub(IMAGE_TAG, prompt), [self.medium(path, column) for path in paths]


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
