"""Rows that hold a prompt and its media, and nothing else: what is answered without training."""

from collections.abc import Mapping
from typing import Any

from modalign.modalities.vision_language.formats.chats import chat_with_media
from modalign.modalities.vision_language.prompts import Message
from modalign.plugins.formats.chat import as_content
from modalign.plugins.formats.media.kind import MediaKind


def row_prompt(row: Mapping[str, Any], column: str, kind: MediaKind) -> str | list[Message]:
    """The prompt of a row, the media of its column, such as `images` or `image`, in their places.

    See `chat_with_media`.

    Raises:
        RowError: It is neither text nor a chat, or its media do not go with it.
    """
    several = f"{kind.type}s"
    given: Any = next((row[name] for name in (several, kind.type) if row.get(name) is not None), [])
    media = [kind.read(value, several) for value in (given if isinstance(given, list) else [given])]
    prompt = as_content(row[column], column)
    if isinstance(prompt, str) and not media:
        return prompt
    return chat_with_media(prompt, media, column, kind)
