"""Where a prompt ends and its response begins, in tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.text.chat import ChatRenderer, Message, checked_messages, checked_reply, is_chat


@dataclass(frozen=True)
class Prompt:
    """A tokenised prompt.

    Attributes:
        ids: At least one token.
        messages: What it was rendered from, where it is a chat.
        text: The rendered chat, up to where the assistant's turn begins.
    """

    ids: list[int]
    messages: list[Message] | None = None
    text: str = ""


@dataclass(frozen=True)
class BoundaryTokenizer:
    """Tokenises prompts and responses so that the boundary between them lies between two tokens.

    A string prompt and its response are tokenised apart. A chat is rendered by the chat template with and without its
    response, and split where the assistant's turn is opened.

    Args:
        tokenizer: A transformers tokenizer.
        add_eos: Whether a response ends in the end-of-sequence token, so that stopping is learned.
        chat_options: Variables for the chat template.
    """

    tokenizer: Any
    add_eos: bool = True
    chat_options: Mapping[str, Any] = field(default_factory=dict)

    def prompt(self, prompt: Any, extra: Mapping[str, Any]) -> Prompt:
        """Tokenise a prompt, with the assistant's turn opened where it is a chat.

        Args:
            prompt: Text or messages.
            extra: A row's `tools`, `documents` and `chat_template_kwargs`.

        Raises:
            RowError: It is neither text nor a chat, or a chat without messages.
        """
        if not is_chat(prompt):
            ids = self._ids(_checked_text(prompt, "prompt"), "prompt")
            starts = ids[: len(self._start)] == self._start
            return Prompt((ids if starts else self._start + ids) or self._start_of_text())
        messages = checked_messages(prompt, "prompt")
        if not messages:
            raise RowError("the prompt is a chat without messages", "Add the user's message.", "prompt")
        text = self._chat.render(messages, extra, generation_prompt=True)
        return Prompt(self._ids(text, "prompt") or self._start_of_text(), messages, text)

    def completion(self, prompt: Prompt, response: Any, extra: Mapping[str, Any], column: str) -> list[int]:
        """Tokenise the response to a prompt.

        Args:
            prompt: As `prompt` returned it.
            response: In the prompt's form.
            extra: As for `prompt`.
            column: What to call the response in an error.

        Raises:
            RowError: It is of another form than its prompt, or empty, or cannot be told from its prompt.
        """
        if (prompt.messages is not None) != is_chat(response):
            form = "text" if prompt.messages is None else "a chat"
            raise RowError(
                f"the prompt is {form} and the response is {_kind(response)}",
                "Write both as text, or both as lists of messages.",
                column,
            )
        if prompt.messages is not None:
            return self._reply(prompt, checked_reply(response, column), extra, column)
        ids = self._ids(_checked_text(response, column), column)
        if not ids:
            raise RowError("the response is empty", "Remove the row, or fill the response in.", column)
        return self._ended(ids)

    def _reply(self, prompt: Prompt, reply: list[Message], extra: Mapping[str, Any], column: str) -> list[int]:
        whole = self._chat.render((prompt.messages or []) + reply, extra, generation_prompt=False)
        if not whole.startswith(prompt.text):
            raise RowError(
                "it cannot be told where the prompt ends and the response begins: the chat template opens the "
                f"assistant's turn with {_after_common(prompt.text, whole)!r}, but writes the response otherwise",
                "Set modality.chat_template_kwargs (such as enable_thinking: false) or another modality.chat_template.",
                column,
            )
        text = whole[len(prompt.text) :]
        if not text.strip():
            raise RowError("the chat template writes nothing for the response", "Check the message.", column)
        completion = self._completion_ids(prompt, whole, column)
        content = reply[-1]["content"].rstrip()
        left_open = bool(content) and text.rstrip().endswith(content)
        return self._ended(completion) if left_open else completion

    def _completion_ids(self, prompt: Prompt, whole: str, column: str) -> list[int]:
        """The tokens of what follows the prompt's text in a whole chat."""
        ids = self._ids(whole, column)
        # Where a token spans the boundary, the response is tokenised apart, as it is generated.
        joined = ids[: len(prompt.ids)] == prompt.ids
        return ids[len(prompt.ids) :] if joined else self._ids(whole[len(prompt.text) :], column)

    def _ended(self, completion: list[int]) -> list[int]:
        eos = self.tokenizer.eos_token_id
        return completion if not self.add_eos or completion[-1] == eos else [*completion, eos]

    def _ids(self, text: str, column: str) -> list[int]:
        """Tokens of exactly this text: no special token is added."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RowError(f"the text is no valid Unicode: {error}", "Repair or remove the row.", column) from error
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]  # type: ignore[no-any-return]

    @cached_property
    def _chat(self) -> ChatRenderer:
        return ChatRenderer(self.tokenizer, self.chat_options)

    @cached_property
    def _start(self) -> list[int]:
        """What the tokenizer puts before a text: mostly its begin-of-sequence token, or nothing."""
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        special = self.tokenizer("a")["input_ids"]
        return next((special[:n] for n in range(len(special)) if special[n : n + len(plain)] == plain), [])

    def _start_of_text(self) -> list[int]:
        """The token an empty prompt consists of: the first token of a response needs one before it."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return [token]
        raise ConfigError(
            "A prompt is empty, and the tokenizer has neither a begin- nor an end-of-sequence token to stand for it.",
            "Use another tokenizer, or fill the prompts in.",
        )


def _checked_text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"it is {_kind(value)}, not text", "Write a string, or a list of messages.", column)
    return value


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "a chat" if is_chat(value) else f"of type {type(value).__name__}"


def _after_common(first: str, second: str) -> str:
    """What of `first` follows the common beginning of both."""
    pairs = enumerate(zip(first, second, strict=False))
    return first[next((n for n, (a, b) in pairs if a != b), min(len(first), len(second))) :]
