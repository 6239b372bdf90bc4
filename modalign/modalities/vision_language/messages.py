"""Checking prompts with media, and bringing messages into the form that a chat template reads."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.text.chat import ChatRenderer, Message, is_chat
from modalign.modalities.vision_language.prompts import IMAGE, NOUNS, question, text_part

PROBE = "qzj"


def checked_prompt(prompt: Any, kind: str = IMAGE) -> list[Message]:
    """The messages of a prompt, their content as lists of parts; text becomes the user's one message.

    Args:
        prompt: What a row or a user gave.
        kind: Of the media that it may hold.

    Raises:
        RowError: It is neither text nor a chat, a message is malformed, or a part is neither text nor of the kind.
    """
    if isinstance(prompt, str):
        return [dict(message) for message in question(prompt, kind=kind)]
    if not is_chat(prompt):
        raise RowError(
            f"the prompt is of type {type(prompt).__name__}", "Write a string, or a list of messages.", "prompt"
        )
    if not prompt:
        raise RowError("the prompt is a chat without messages", "Add the user's message.", "prompt")
    return [_checked_message(message, number, kind) for number, message in enumerate(prompt)]


def texts_of(messages: Sequence[Message]) -> list[str]:
    """Every text in checked messages."""
    return [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]


class PartsRenderer(ChatRenderer):
    """Renders messages with media through a processor's chat template.

    Templates of one kind read every content as a list of parts, those of the other read text where there is no medium.
    Which kind it is shows a chat that is rendered once.

    Args:
        processor: Whose template is used.
        options: Variables for the template.
        kind: Of the media.
    """

    def __init__(self, processor: Any, options: Mapping[str, Any], kind: str = IMAGE) -> None:
        super().__init__(processor, options)
        self.kind = kind

    def render(self, messages: list[Message], extra: Mapping[str, Any], generation_prompt: bool) -> str:
        """See `ChatRenderer.render`; messages are those of `checked_prompt`, or replies with text for content."""
        named = [self._in_form(message, self._reads_parts) for message in messages]
        return super().render(named, extra, generation_prompt)

    @cached_property
    def _reads_parts(self) -> bool:
        chat: list[Message] = [
            {"role": "user", "content": [{"type": self.kind}, text_part(PROBE)]},
            {"role": "assistant", "content": [text_part(PROBE)]},
        ]
        for parts in (True, False):
            try:
                text = super().render([self._in_form(message, parts) for message in chat], {}, generation_prompt=False)
            except RowError:
                continue
            # A template that takes the list of parts for text writes Python's form of it.
            if text.count(PROBE) == len(chat) and "'type'" not in text and '"type"' not in text:
                return parts
        raise ConfigError(
            f"The chat template does not write messages whose content is text and {NOUNS[self.kind]}s.",
            f"Set modality.chat_template to one made for this model's {NOUNS[self.kind]}s.",
        )

    def _in_form(self, message: Message, parts: bool) -> Message:
        """The message as a template reads it; media are only named there."""
        content = message["content"]
        content = [text_part(content)] if isinstance(content, str) else content
        named = [{"type": self.kind} if part["type"] == self.kind else part for part in content]
        if not parts and all(part["type"] == "text" for part in named):
            return {**message, "content": "".join(part["text"] for part in named)}
        return {**message, "content": named}


def _checked_message(message: Any, number: int, kind: str) -> Message:
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
    return {**kept, "role": role, "content": _parts(message, number, kind)}


def _parts(message: Mapping[str, Any], number: int, kind: str) -> list[dict[str, Any]]:
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
    return [_part(part, number, kind) for part in content or ()]


def _part(part: Any, number: int, kind: str) -> dict[str, Any]:
    own = part.get("type") if isinstance(part, Mapping) else None
    if own == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if own == kind and part.get(kind) is not None:
        return {"type": kind, kind: part[kind]}
    raise RowError(
        f"message {number} holds a part that cannot be used: {_shown(part, kind)}",
        f"Write parts as {{'type': 'text', 'text': ...}} and {{'type': '{kind}', '{kind}': ...}}.",
        "prompt",
    )


def _shown(part: Any, kind: str) -> str:
    if not isinstance(part, Mapping):
        return f"{type(part).__name__}"
    empty = [key for key in ("text", kind) if key == part.get("type") and part.get(key) is None]
    return f"type {part.get('type')!r}" + (f" without {empty[0]}" if empty else "")
