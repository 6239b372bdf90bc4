"""Chats: checking messages and rendering them through a tokenizer's chat template."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modalign.core.errors import ConfigError, RowError, UserError

Message = dict[str, Any]


def is_chat(value: Any) -> bool:
    """Whether a prompt or response is a list of messages, however malformed, rather than text."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def checked_messages(value: Sequence[Any], column: str) -> list[Message]:
    """The messages with their content as text, without the keys that are None (columnar files add them).

    Raises:
        RowError: One is no message, or has no role or content.
    """
    return [_checked_message(message, number, column) for number, message in enumerate(value)]


def checked_reply(value: Sequence[Any], column: str) -> list[Message]:
    """The messages of a response, all of them the assistant's.

    Raises:
        RowError: There is none, it is empty, or somebody else's words would be scored with it.
    """
    messages = checked_messages(value, column)
    if not any(message["content"].strip() or message.get("tool_calls") for message in messages):
        raise RowError("the response is empty", "Remove the row, or fill the response in.", column)
    others = {message["role"] for message in messages} - {"assistant"}
    if others:
        raise RowError(
            f"the response holds messages of {', '.join(sorted(others))}, which would be learned as the model's own",
            "Move the turns before the last reply into the prompt.",
            column,
        )
    return messages


def read_chat_template(option: str | None) -> str | None:
    """The template that the option names or is.

    Raises:
        UserError: It looks like a file's name, and there is no such file.
    """
    if option is None or "{" in option:
        return option
    path = Path(option).expanduser()
    if not path.is_file():
        raise UserError(
            f"modality.chat_template: there is no file {option!r} (relative to {Path.cwd()}), and it is no template.",
            "Give the path of a Jinja file, or the template itself.",
        )
    return path.read_text(encoding="utf-8")


class ChatRenderer:
    """Renders messages to text through a tokenizer's chat template.

    Args:
        tokenizer: Whose template is used.
        options: Variables for the template, such as `enable_thinking`.
    """

    def __init__(self, tokenizer: Any, options: Mapping[str, Any]) -> None:
        self.tokenizer = tokenizer
        self.options = options

    def render(self, messages: list[Message], extra: Mapping[str, Any], generation_prompt: bool) -> str:
        """The text of a chat.

        Args:
            messages: As `checked_messages` returns them.
            extra: A row's `tools`, `documents` and `chat_template_kwargs`.
            generation_prompt: Whether to open the assistant's next turn.

        Raises:
            RowError: The template does not take these messages.
            ConfigError: There is no template.
        """
        from jinja2 import TemplateError, TemplateSyntaxError

        if self.tokenizer.chat_template is None:
            raise ConfigError(
                "The data holds chats, but the tokenizer has no chat template.",
                "Set modality.chat_template, or use an instruction-tuned model's tokenizer.",
            )
        options = {**self.options, **_row_options(extra)}
        try:
            return self.tokenizer.apply_chat_template(  # type: ignore[no-any-return]
                messages,
                add_generation_prompt=generation_prompt,
                tokenize=False,
                **options,
            )
        except TemplateSyntaxError as error:
            raise ConfigError(f"The chat template is no valid Jinja: {error}.", "Correct it.") from error
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise RowError(
                f"the chat template refuses the messages: {error}",
                "Check the messages' roles, their order and their content.",
            ) from error


def _checked_message(message: Any, number: int, column: str) -> Message:
    if not isinstance(message, Mapping):
        raise RowError(
            f"message {number} is {type(message).__name__}, not a mapping with 'role' and 'content'",
            "Write messages as {'role': ..., 'content': ...}.",
            column,
        )
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise RowError(
            f"message {number} has no role that can be used: {role!r}",
            "Name a role such as 'user' or 'assistant'.",
            column,
        )
    kept = {key: value for key, value in message.items() if value is not None}
    return {**kept, "role": role, "content": _text_content(message, number, column)}


def _text_content(message: Mapping[str, Any], number: int, column: str) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None and message.get("tool_calls"):
        return ""
    if isinstance(content, Sequence) and all(isinstance(part, Mapping) for part in content):
        texts = [part.get("text") for part in content if part.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(str(text) for text in texts)
        raise RowError(
            f"message {number} holds parts other than text",
            "The text modality reads text alone; choose the modality that fits the data.",
            column,
        )
    raise RowError(f"message {number} has content of type {type(content).__name__}", "Write a string.", column)


def _row_options(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What a row passes on to its template; lists may be JSON text, since columnar files cannot hold every shape."""
    options = extra.get("chat_template_kwargs") or {}
    if not isinstance(options, Mapping):
        raise RowError(f"it is {type(options).__name__}, not a mapping", "Write a mapping.", "chat_template_kwargs")
    options = dict(options)
    for name in ("tools", "documents"):
        value = extra.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise RowError(f"{name} is no valid JSON: {error}", "Write a JSON list.", name) from error
        if value is not None:
            options[name] = value
    return options
