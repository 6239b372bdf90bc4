"""Rows that hold a prompt and its images, and nothing else: what is answered without training."""

from collections.abc import Mapping
from typing import Any

from modalign.modalities.vision_language.formats.chats import chat_with_images
from modalign.modalities.vision_language.prompts import Message
from modalign.plugins.formats.chat import as_content
from modalign.plugins.formats.images import as_image

_COLUMNS = ("images", "image")


def row_prompt(row: Mapping[str, Any], column: str) -> str | list[Message]:
    """The prompt of a row, the images of its column `images` or `image` in their places; see `chat_with_images`.

    Raises:
        RowError: It is neither text nor a chat, or its images do not go with it.
    """
    given: Any = next((row[name] for name in _COLUMNS if row.get(name) is not None), [])
    images = [as_image(value, "images") for value in (given if isinstance(given, list) else [given])]
    prompt = as_content(row[column], column)
    if isinstance(prompt, str) and not images:
        return prompt
    return chat_with_images(prompt, images, column)
