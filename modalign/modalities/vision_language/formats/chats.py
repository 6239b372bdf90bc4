"""Prompts and responses of rows as chats: media put into their places, responses as messages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.modalities.vision_language.prompts import (
    IMAGE,
    NOUNS,
    Message,
    Part,
    answer,
    media_part,
    tag,
    tagged_content,
    text_part,
)
from modalign.plugins.formats import chat
from modalign.plugins.formats.chat import Content
from modalign.plugins.formats.media.kind import MediaKind
from modalign.plugins.formats.trl_preference import shared_turns, with_prompt


def chat_with_media(
    prompt: Content,
    media: Sequence[Media],
    column: str,
    kind: MediaKind,
    root: str | None = None,
    allow_urls: bool | None = None,
) -> list[Message]:
    """A prompt as a chat whose parts of a kind hold media.

    The places of images are the parts `{"type": "image"}` of messages, and `<image>` tags in their text; those of
    sounds are called `audio`. Where there are none, all media stand before the text of the first user message, as TRL
    places images. A part that holds its medium, or says where it is, keeps it.

    Args:
        prompt: Text, or messages.
        media: In reading order, those of parts that hold their own left out.
        column: Of the prompt, for messages.
        kind: Of the media.
        root: Where relative paths in parts start; see `MediaKind.read`.
        allow_urls: Whether addresses in parts are fetched; see `MediaKind.read`.

    Raises:
        RowError: There are not as many places as media, there is no text, or a part holds none of the kind.
    """
    chat = _Chat(kind.type)
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    parted = [{**message, "content": chat.parts(message.get("content"))} for message in messages]
    places = sum(chat.is_place(part) for message in parted for part in message["content"])
    if media and not places:
        _put_first(parted, messages, [chat.place] * len(media))
        places = sum(chat.is_place(part) for message in parted for part in message["content"])
    if places != len(media):
        raise _unplaced(places, len(media), kind.type, column)
    rest = iter(media)

    def read(value: Any, where: str) -> Media:
        return kind.read(value, where, root, allow_urls)

    filled = [
        {**message, "content": [chat.filled(part, rest, column, read) for part in message["content"]]}
        for message in parted
    ]
    if not any(str(part.get("text", "")).strip() for message in filled for part in message["content"]):
        raise RowError("empty question: the prompt has no text", "Fill it in, or remove the row.", column)
    return [_plain(message) for message in filled]


def without_prompt(
    prompt: Content | None, chosen: Content, rejected: Content, *, kind: str = IMAGE
) -> tuple[Content, Content, Content]:
    """The prompt, and the two responses without it; see `with_prompt`. A text prompt may leave the media's tags out.

    Raises:
        RowError: There is no prompt, or not the one that conversations begin with.
    """
    if prompt is None and isinstance(chosen, str) and chosen == rejected:
        raise RowError("no prompt: both responses are one text", "Put the prompt into a column `prompt`.", "prompt")
    if not isinstance(prompt, str) or isinstance(chosen, str) or isinstance(rejected, str):
        return with_prompt(prompt, chosen, rejected)
    end = shared_turns(chosen, rejected)
    if end and _words(prompt, kind) not in [_words(turn.get("content"), kind) for turn in chosen[:end]]:
        raise RowError(
            "the prompt is not that of the conversations: none of the turns they share says it",
            "Remove the column of the prompt, or make it agree with the conversations.",
            "prompt",
        )
    return with_prompt(None if end else prompt, chosen, rejected)


def as_answer(response: Content, column: str) -> list[Message]:
    """A response as messages whose content is text.

    Raises:
        RowError: It is empty, holds other people's words, or images.
    """
    if isinstance(response, str):
        chat.response(response, column)
        return answer(response)
    messages: list[Message] = [{**message, "content": _text(message.get("content"), column)} for message in response]
    chat.response([dict(message) for message in messages], column)
    return messages


class _Chat:
    """Where the media of a kind stand in the parts of messages.

    Args:
        kind: The type of their parts.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.payloads = (kind, "path", "bytes", "url", f"{kind}_url")
        self.place: Part = {"type": kind}

    def parts(self, content: Any) -> list[Part]:
        """A message's content with each place of a medium as a part of its own."""
        parts = content if isinstance(content, list) else [text_part(content)] if content else []
        return [piece for part in parts for piece in self._split(part)]

    def is_place(self, part: Part) -> bool:
        """Whether a part waits for a medium."""
        return part["type"] == self.kind and not any(name in part for name in self.payloads)

    def filled(self, part: Part, rest: Iterator[Media], column: str, read: Callable[[Any, str], Media]) -> Part:
        """A part with its medium: the next one, or the one that it holds."""
        if self.is_place(part):
            return media_part(next(rest), self.kind)
        if part["type"] not in (self.kind, f"{self.kind}_url"):
            return part
        name = next((name for name in self.payloads if name in part), self.kind)
        value = part.get(name)
        if name in (self.kind, f"{self.kind}_url") and isinstance(value, Mapping) and "url" in value:
            value = value["url"]
        if name in ("path", "bytes"):  # a mapping of its own, which may say what part of a file is meant
            value = {key: item for key, item in part.items() if key != "type"}
        return media_part(read(value, f"{column}: {name}"), self.kind)

    def _split(self, part: Part) -> Sequence[Part]:
        """A part of text at its tags."""
        tags = part["text"].count(tag(self.kind)) if part["type"] == "text" else 0
        if not tags:
            return [part]
        pieces = tagged_content(part["text"], [None] * tags, self.kind)
        return [self.place if piece["type"] == self.kind else piece for piece in pieces]


def _words(content: Any, kind: str) -> str:
    """What a message says, its media left out."""
    texts = [part["text"] for part in _Chat(kind).parts(content) if part["type"] == "text"]
    return "".join(texts).replace(tag(kind), "").strip()


def _unplaced(places: int, media: int, kind: str, column: str) -> RowError:
    noun = NOUNS[kind]
    return RowError(
        f"{noun}s do not fit their places: the prompt has places for {places}, and the row has {media}",
        f'Give each {noun} one part {{"type": "{kind}"}} or one {tag(kind)} tag, or write text without tags, which '
        f"all {noun}s are put before.",
        column,
    )


def _put_first(parted: list[dict[str, Any]], messages: Sequence[Message], places: Sequence[Part]) -> None:
    """Make places before the first text of the user; typed content has to have its own, as in TRL."""
    for message, written in zip(parted, messages, strict=True):
        if written["role"] == "user" and isinstance(written.get("content"), str):
            message["content"] = [*places, *message["content"]]
            return


def _plain(message: Mapping[str, Any]) -> Message:
    """A message of text alone holds it as text."""
    parts = message["content"]
    return {**message, "content": parts[0]["text"]} if [part["type"] for part in parts] == ["text"] else message


def _text(content: Any, column: str) -> str:
    if not isinstance(content, list):
        return content or ""
    others = sorted({str(part["type"]) for part in content} - {"text"})
    if others:
        raise RowError(f"a response is text, and this holds {', '.join(others)}", "Remove the row.", column)
    return "".join(part["text"] for part in content)
