"""Text or conversations: prompts and responses are one or the other, and both are of the same form."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.errors import RowError
from modalign.plugins.formats.values import items, required, shown, text, without_nones

Message = dict[str, Any]
Content = str | list[Message]
"""Text, or the messages of a conversation."""

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_ANSWERING = frozenset({"assistant", "tool"})


def looks_like_text(value: Any) -> bool:
    return isinstance(value, str)


def looks_like_chat(value: Any) -> bool:
    """Whether a value is meant as a conversation, whatever is wrong with its messages."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and _starts_with_role(value)


def looks_like_content(value: Any) -> bool:
    return looks_like_text(value) or looks_like_chat(value)


def content(row: Mapping[str, Any], column: str) -> Content:
    """A column that holds text or a conversation.

    Raises:
        RowError: It is missing, or neither.
    """
    return as_content(required(row, column), column)


def as_content(value: Any, column: str) -> Content:
    """A value as text or as messages without empty keys.

    Raises:
        RowError: It is neither, or a message is malformed.
    """
    if isinstance(value, str):
        return text(value, column)
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise RowError(f"neither text nor a conversation: {shown(value)}", _FORMS, column)
    return [_message(message, f"{column}[{number}]") for number, message in enumerate(items(value, column))]


def response(value: Content, column: str) -> Content:
    """The value, if it is something to learn from: not empty, and of a conversation only the assistant's part.

    Tool results may stand between two messages of the assistant.

    Raises:
        RowError: It is empty, does not end with the assistant, or holds other people's words.
    """
    if isinstance(value, str):
        if not value.strip():
            raise RowError("empty response", "Fill it in, or remove the row.", column)
        return value
    if value[-1]["role"] != "assistant":
        raise RowError(
            f"does not end with the assistant: the last message is the {value[-1]['role']}'s",
            "End the conversation with the assistant's message, or remove the row.",
            column,
        )
    others = sorted({message["role"] for message in value} - _ANSWERING)
    if others:
        raise RowError(
            f"the response holds other roles: {', '.join(others)}, whose words would be learned as the model's own",
            "Move what comes before the last answer into the prompt; pairs must share it to the letter.",
            column,
        )
    if _is_empty(value[-1]):
        raise RowError("empty response", "Fill the last message in, or remove the row.", column)
    return value


def same_form(prompt: Content, answer: Content, column: str) -> None:
    """Refuse a text prompt with a conversation as its response, and the reverse.

    Raises:
        RowError: The forms differ.
    """
    if isinstance(prompt, str) != isinstance(answer, str):
        forms = ["text" if isinstance(value, str) else "a conversation" for value in (prompt, answer)]
        raise RowError(f"mixed forms: the prompt is {forms[0]} and this is {forms[1]}", _FORMS, column)


def same_content(first: Content, second: Content) -> bool:
    """Whether two responses say the same, blanks at their ends aside."""
    if isinstance(first, str) and isinstance(second, str):
        return first.strip() == second.strip()
    return first == second


def _starts_with_role(value: Sequence[Any]) -> bool:
    return bool(value) and isinstance(value[0], Mapping) and "role" in value[0]


def _message(value: Any, column: str) -> Message:
    if not isinstance(value, Mapping) or "role" not in value:
        raise RowError(f"not a message: {shown(value)}", _FORMS, column)
    message: Message = without_nones(value, column)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise RowError(f"unknown role: {shown(role)}", f"Known roles: {', '.join(sorted(ROLES))}.", column)
    calls = message.get("tool_calls", [])
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise RowError(f"not a list of tool calls: {shown(calls)}", "Write a list of mappings.", column)
    said = message.setdefault("content", "") if calls else message.get("content")
    parts = said if isinstance(said, list) else [{"type": "text", "text": said}]
    for part in parts:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise RowError(f"not a part of a message: {shown(part)}", 'Write {"type": "text", "text": ...}.', column)
        if part["type"] == "text":
            text(part.get("text"), column)
    return message


def _is_empty(message: Message) -> bool:
    said = message["content"]
    blank = not said.strip() if isinstance(said, str) else not said
    return blank and not message.get("tool_calls")


_FORMS = 'Write both prompt and responses as text, or both as lists of {"role": ..., "content": ...}.'
