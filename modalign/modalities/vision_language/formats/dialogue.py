"""Conversations in the two dialects of instruction data: `from` and `value`, or `role` and `content`."""

from collections.abc import Mapping
from typing import Any

from modalign.core.errors import RowError
from modalign.plugins.formats.chat import ROLES, Message, as_content
from modalign.plugins.formats.values import items, shown, text

_SPEAKERS = {"human": "user", "gpt": "assistant", "observation": "tool"} | {role: role for role in ROLES}
_FORMS = 'Write each turn as {"from": "human", "value": ...} or {"role": "user", "content": ...}.'


def looks_like_dialogue(value: Any) -> bool:
    """Whether a value is meant as a conversation in either dialect."""
    return isinstance(value, list) and bool(value) and looks_like_turn(value[0])


def looks_like_turn(value: Any) -> bool:
    """Whether a value is meant as a turn in either dialect."""
    return isinstance(value, Mapping) and bool({"from", "role"} & set(value))


def dialogue(value: Any, column: str) -> list[Message]:
    """A conversation as messages with roles.

    Raises:
        RowError: It is none, it is empty, or a turn is malformed or nobody's that is known.
    """
    turns = [_turn(turn, f"{column}[{number}]") for number, turn in enumerate(items(value, column))]
    messages = as_content(turns, column)
    if isinstance(messages, str):
        raise RowError(f"not a conversation: {shown(value)}", _FORMS, column)
    return messages


def spoken(value: Any, column: str) -> str | list[Message]:
    """A response: text, one turn, or several.

    Raises:
        RowError: It is none of these.
    """
    if isinstance(value, str):
        return text(value, column)
    return dialogue([value] if isinstance(value, Mapping) else value, column)


def _turn(value: Any, column: str) -> Any:
    """A turn as a message; what is malformed in `role` and `content` is told by `as_content`."""
    if not isinstance(value, Mapping) or value.get("from") is None:
        return value
    speaker = value["from"]
    if not isinstance(speaker, str) or speaker not in _SPEAKERS:
        raise RowError(f"unknown speaker: {shown(speaker)}", f"Known: {', '.join(_SPEAKERS)}.", column)
    return {"role": _SPEAKERS[speaker], "content": text(value.get("value"), column)}
