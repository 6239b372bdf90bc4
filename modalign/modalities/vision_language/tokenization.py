"""From a prompt with media to what a processor makes of it, and from a response to its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from modalign.core.content import content_hash
from modalign.core.errors import RowError
from modalign.modalities.text.chat import Message
from modalign.modalities.text.tokenization import BoundaryTokenizer, Prompt
from modalign.modalities.vision_language.medium import Medium
from modalign.modalities.vision_language.messages import PartsRenderer, checked_prompt, texts_of
from modalign.modalities.vision_language.processor import by_kind, placeholders
from modalign.modalities.vision_language.prompts import answer, media_of

PROCESSOR_ERRORS = (ValueError, TypeError, IndexError, KeyError, RuntimeError, AttributeError)


@dataclass(frozen=True)
class MediaPrompt(Prompt):
    """A prompt as its processor encoded it.

    Attributes:
        text: The rendered chat, with one placeholder a medium.
        opened: The pictures or waveforms that the processor was given.
        processed_text: The text that it was given.
        special: Whether it was to add special tokens.
        plain_ids: The tokens of `text` as it stands.
        media_tokens: How many of the tokens there are because of the media.
        cut: Whether the processor was given only a part of a medium.
        token_wise: See `MediaCell`.
        media: See `MediaCell`.
        media_key: See `MediaCell`.
    """

    opened: Sequence[Any] = ()
    processed_text: str = ""
    special: bool = False
    plain_ids: Sequence[int] = ()
    media_tokens: int = 0
    token_wise: Mapping[str, Tensor] = field(default_factory=dict)
    media: Mapping[str, Tensor] = field(default_factory=dict)
    media_key: str = ""
    cut: bool = False


@dataclass(frozen=True)
class MediaTokenizer(BoundaryTokenizer):
    """Tokenises prompts through a processor, and responses apart from the media.

    Args:
        processor: A transformers processor whose chat template is set; its tokenizer is `tokenizer`.
        medium: What prompts hold beside text.
    """

    processor: Any = field(kw_only=True)
    medium: Medium = field(kw_only=True)

    def prompt(self, prompt: Any, extra: Mapping[str, Any], scale: float = 1.0) -> MediaPrompt:
        """Encode a prompt, with the assistant's turn opened.

        Args:
            prompt: Text, or messages with media.
            extra: A row's `tools`, `documents` and `chat_template_kwargs`.
            scale: How much smaller its media are made, for kinds that can be.

        Raises:
            RowError: It is no prompt, a medium cannot be decoded, its text holds the text that stands for one, or the
                processor refuses it.
        """
        medium = self.medium if scale == 1 else self.medium.scaled(scale)
        messages = checked_prompt(prompt, medium.kind)
        for text in texts_of(messages):
            self._refuse_placeholders(text, "prompt")
        values = media_of(messages, medium.kind)
        opened = [medium.open(value) for value in values]
        key = content_hash([*medium.settings, *map(medium.key, values)]) if values else ""
        text = self._chat.render(messages, extra, generation_prompt=True)
        self._check_placeholders(text, len(opened))
        return self._processed(messages, text, opened, key, any(map(medium.cuts, values)))

    def completion(self, prompt: Prompt, response: Any, extra: Mapping[str, Any], column: str) -> list[int]:
        """See `BoundaryTokenizer.completion`; text is the content of the assistant's message.

        Raises:
            RowError: As there, or the response holds a medium, or the text that stands for one.
        """
        reply = answer(response) if isinstance(response, str) else response
        if media_of(reply, self.medium.kind):
            noun = self.medium.noun
            raise RowError(f"the response holds {_one(noun)}", f"Put {noun}s into the prompt.", column)
        completion = super().completion(prompt, reply, extra, column)
        for message in reply:
            if isinstance(content := message.get("content"), str):
                self._refuse_placeholders(content, column)
        self._refuse_placeholder_ids(completion, column)
        return completion

    def _completion_ids(self, prompt: Prompt, whole: str, column: str) -> list[int]:
        """As for text, but the prompt's tokens before the media are laid out decide what the response follows."""
        assert isinstance(prompt, MediaPrompt)
        before, ids = list(prompt.plain_ids), self._ids(whole, column)
        # A processor may write more after the prompt (PaliGemma a line break), which the response then follows.
        joined = ids[: len(before)] == before and before[-1:] == prompt.ids[-1:]
        return ids[len(before) :] if joined else self._ids(whole[len(prompt.text) :], column)

    def _processed(self, messages: list[Message], text: str, opened: list[Any], key: str, cut: bool) -> MediaPrompt:
        encoded, processed_text, special = self._call(text, opened)
        ids = encoded["input_ids"][0].tolist()
        if not ids:
            raise RowError("the chat template writes nothing for the prompt", "Check the messages.", "prompt")
        token_wise, media = by_kind(encoded, len(ids))
        plain = self._ids(text, "prompt")
        if opened:
            self.medium.check_tokens(ids, plain, self.placeholder_ids)
        return MediaPrompt(
            ids,
            messages,
            text,
            opened,
            processed_text,
            special,
            plain,
            self._media_tokens(ids, plain, len(opened)),
            token_wise,
            media,
            key,
            cut,
        )

    def _media_tokens(self, ids: list[int], plain: list[int], media: int) -> int:
        """How many more tokens there are than the prompt would have without its placeholders."""
        if not media:
            return 0
        bos = self.tokenizer.bos_token_id
        return len(ids) - ids.count(bos) - (len(plain) - plain.count(bos)) + media

    def _call(self, text: str, opened: list[Any]) -> tuple[Mapping[str, Any], str, bool]:
        """The processor's output for one prompt; its begin-of-sequence token stands there once, and nothing ends it.

        Returns:
            The output, the text that the processor was given, and whether it was to add special tokens.
        """
        bos = self.tokenizer.bos_token
        special = not self._ends_text and not (bos and text.startswith(bos))
        if self._ends_text and bos and self._start and not text.startswith(bos):
            text = bos + text
        encoded = self._output(text, opened, special)
        if special and _count(encoded, self.tokenizer.bos_token_id) > max(1, text.count(bos or "\0")):
            special, encoded = False, self._output(text, opened, False)
        return encoded, text, special

    def _output(self, text: str, opened: list[Any], special: bool) -> Mapping[str, Any]:
        media = self.medium.arguments([opened])
        try:
            return self.processor(  # type: ignore[no-any-return]
                text=[text], add_special_tokens=special, return_tensors="pt", **media
            )
        except PROCESSOR_ERRORS as error:
            noun = self.medium.noun
            raise RowError(
                f"the processor refuses the prompt: {str(error) or type(error).__name__}",
                f"Check its {noun}s and its text."
                if opened
                else f"The prompt has no {noun}: give it one if the model's processor asks for one.",
                "prompt",
            ) from error

    def _check_placeholders(self, text: str, media: int) -> None:
        token = getattr(self.processor, f"{self.medium.kind}_token", None)
        if token and (found := text.count(token)) != media:
            noun = self.medium.noun
            raise RowError(
                f"the chat template does not place the {noun}s: it writes {token!r} {found} times for {media}",
                f"Set modality.chat_template to one that writes it once for each {noun} part.",
                "prompt",
            )

    def _refuse_placeholders(self, text: str, column: str) -> None:
        noun = self.medium.noun
        for token in self.placeholders:
            if token in text:
                raise RowError(
                    f"the text holds what stands for {_one(noun)}: {token!r}",
                    f"Remove it; where {_one(noun)} is meant, give the prompt {_one(noun)} part in its place.",
                    column,
                )

    def _refuse_placeholder_ids(self, completion: list[int], column: str) -> None:
        found = sorted(self.placeholder_ids.intersection(completion))
        if found:
            token = self.tokenizer.convert_ids_to_tokens(found[0])
            raise RowError(
                f"the response holds what stands for {_one(self.medium.noun)}: {token!r}",
                "Remove it from the response.",
                column,
            )

    @cached_property
    def _chat(self) -> PartsRenderer:
        return PartsRenderer(self.processor, self.chat_options, self.medium.kind)

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """The texts that stand for an image, video or sound."""
        return placeholders(self.processor)

    @cached_property
    def placeholder_ids(self) -> frozenset[int]:
        """The tokens that stand for an image, video or sound."""
        ids = self.tokenizer.convert_tokens_to_ids(list(self.placeholders))
        unknown = self.tokenizer.unk_token_id
        return frozenset(token for token in ids if token is not None and token != unknown)

    @cached_property
    def _ends_text(self) -> bool:
        """Whether the tokenizer puts something after a text, which would end a prompt before its response."""
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        special = self.tokenizer("a")["input_ids"]
        return bool(plain) and special[len(special) - len(plain) :] != plain


def _count(encoded: Mapping[str, Any], token: int | None) -> int:
    return 0 if token is None else int((encoded["input_ids"] == token).sum())


def _one(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
