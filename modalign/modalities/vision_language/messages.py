"""Checking prompts with images, and bringing messages into the form that a chat template reads."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.text.chat import ChatRenderer, Message, is_chat
from modalign.modalities.vision_language.prompts import question, text_part

PROBE = "qzj"
PROBE_CHAT: list[Message] = [
    {"role": "user", "content": [{"type": "image"}, text_part(PROBE)]},
    {"role": "assistant", "content": [text_part(PROBE)]},
]


def checked_prompt(prompt: Any) -> list[Message]:
    """The messages of a prompt, their content as lists of parts; text becomes the user's one message.

    Raises:
        RowError: It is neither text nor a chat, a message is malformed, or a part is neither text nor an image.
    """
    if isinstance(prompt, str):
        return [dict(message) for message in question(prompt)]
    if not is_chat(prompt):
        raise RowError(
            f"the prompt is of type {type(prompt).__name__}", "Write a string, or a list of messages.", "prompt"
        )
    if not prompt:
        raise RowError("the prompt is a chat without messages", "Add the user's message.", "prompt")
    return [_checked_message(message, number) for number, message in enumerate(prompt)]


def texts_of(messages: Sequence[Message]) -> list[str]:
    """Every text in checked messages."""
    return [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]


class PartsRenderer(ChatRenderer):
    """Renders messages with images through a processor's chat template.

    Templates of one kind read every content as a list of parts, those of the other read text where there is no image.
    Which kind it is shows a chat that is rendered once.
    """

    def render(self, messages: list[Message], extra: Mapping[str, Any], generation_prompt: bool) -> str:
        """See `ChatRenderer.render`; messages are those of `checked_prompt`, or replies with text for content."""
        return super().render([_in_form(message, self._reads_parts) for message in messages], extra, generation_prompt)

    @cached_property
    def _reads_parts(self) -> bool:
        for parts in (True, False):
            try:
                text = super().render([_in_form(message, parts) for message in PROBE_CHAT], {}, generation_prompt=False)
            except RowError:
                continue
            # A template that takes the list of parts for text writes Python's form of it.
            if text.count(PROBE) == len(PROBE_CHAT) and "'type'" not in text and '"type"' not in text:
                return parts
        raise ConfigError(
            "The chat template does not write messages whose content is text and images.",
            "Set modality.chat_template to one made for this model's images.",
        )


def _in_form(message: Message, parts: bool) -> Message:
    """The message as a template reads it; images are only named there."""
    content = message["content"]
    content = [text_part(content)] if isinstance(content, str) else content
    named = [{"type": "image"} if part["type"] == "image" else part for part in content]
    if not parts and all(part["type"] == "text" for part in named):
        return {**message, "content": "".join(part["text"] for part in named)}
    return {**message, "content": named}


def _checked_message(message: Any, number: int) -> Message:
    if not isinstance(message, Mapping):
        raise RowError(
            f"message {number} is {type(message).__name__}, not a mapping with 'role' and 'content'",
            "Write messages as {'role': ..., 'content': ...}.",
            "prompt",
        )
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise RowError(
            f"message {number} has no role that can be used: {role!r}",
            "Name a role such as 'user' or 'assistant'.",
            "prompt",
        )
    kept = {key: value for key, value in message.items() if value is not None}
    return {**kept, "role": role, "content": _parts(message, number)}


def _parts(message: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [dict(text_part(content))]
    if content is None and message.get("tool_calls"):
        return []
    if not is_chat(content):
        raise RowError(
            f"message {number} has content of type {type(content).__name__}",
            "Write a string, or a list of parts.",
            "prompt",
        )
    return [_part(part, number) for part in content or ()]


def _part(part: Any, number: int) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "image" and part.get("image") is not None:
        return {"type": "image", "image": part["image"]}
    raise RowError(
        f"message {number} holds a part that cannot be used: {_shown(part)}",
        "Write parts as {'type': 'text', 'text': ...} and {'type': 'image', 'image': ...}.",
        "prompt",
    )


def _shown(part: Any) -> str:
    if not isinstance(part, Mapping):
        return f"{type(part).__name__}"
    empty = [key for key in ("text", "image") if key == part.get("type") and part.get(key) is None]
    return f"type {part.get('type')!r}" + (f" without {empty[0]}" if empty else "")
