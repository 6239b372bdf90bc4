"""Prompts and responses of rows as the modality's chats: images put into their places, responses as messages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.modalities.vision_language.prompts import (
    IMAGE_TAG,
    Message,
    Part,
    answer,
    image_part,
    tagged_content,
    text_part,
)
from modalign.plugins.formats import chat
from modalign.plugins.formats.chat import Content
from modalign.plugins.formats.images import as_image
from modalign.plugins.formats.trl_preference import shared_turns, with_prompt

_PAYLOADS = ("image", "path", "bytes", "url", "image_url")


def chat_with_images(prompt: Content, images: Sequence[Media], column: str, **reading: Any) -> list[Message]:
    """A prompt as a chat whose image parts hold images.

    The places of the images are the parts `{"type": "image"}` of messages, and `<image>` tags in their text. Where
    there are none, all images stand before the text of the first user message, as TRL places them. A part that holds
    its image, or says where it is, keeps it.

    Args:
        prompt: Text, or messages.
        images: In reading order, those of parts that hold their own left out.
        column: Of the prompt, for messages.
        reading: `root` and `allow_urls` of images that parts hold; see `as_image`.

    Raises:
        RowError: There are not as many places as images, there is no text, or a part holds no image.
    """
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    parted = [{**message, "content": _parts(message.get("content"))} for message in messages]
    places = sum(_is_place(part) for message in parted for part in message["content"])
    if images and not places:
        _put_first(parted, messages, len(images))
        places = sum(_is_place(part) for message in parted for part in message["content"])
    if places != len(images):
        raise RowError(
            f"images do not fit their places: the prompt has places for {places}, and the row has {len(images)}",
            f'Give each image one part {{"type": "image"}} or one {IMAGE_TAG} tag, or write text without tags, which '
            "all images are put before.",
            column,
        )
    rest = iter(images)
    filled = [
        {**message, "content": [_filled(part, rest, column, reading) for part in message["content"]]}
        for message in parted
    ]
    if not any(str(part.get("text", "")).strip() for message in filled for part in message["content"]):
        raise RowError("empty question: the prompt has no text", "Fill it in, or remove the row.", column)
    return [_plain(message) for message in filled]


def without_prompt(prompt: Content | None, chosen: Content, rejected: Content) -> tuple[Content, Content, Content]:
    """The prompt, and the two responses without it; see `with_prompt`. A text prompt may leave the images' tags out.

    Raises:
        RowError: There is no prompt, or not the one that conversations begin with.
    """
    if prompt is None and isinstance(chosen, str) and chosen == rejected:
        raise RowError("no prompt: both responses are one text", "Put the prompt into a column `prompt`.", "prompt")
    if not isinstance(prompt, str) or isinstance(chosen, str) or isinstance(rejected, str):
        return with_prompt(prompt, chosen, rejected)
    end = shared_turns(chosen, rejected)
    if end and _words(prompt) not in [_words(turn.get("content")) for turn in chosen[:end]]:
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


def _words(content: Any) -> str:
    """What a message says, its images left out."""
    texts = [part["text"] for part in _parts(content) if part["type"] == "text"]
    return "".join(texts).replace(IMAGE_TAG, "").strip()


def _parts(content: Any) -> list[Part]:
    """A message's content with each place of an image as a part of its own."""
    parts = content if isinstance(content, list) else [text_part(content)] if content else []
    return [piece for part in parts for piece in _split(part)]


def _split(part: Part) -> Sequence[Part]:
    """A part of text at its tags."""
    tags = part["text"].count(IMAGE_TAG) if part["type"] == "text" else 0
    return [_unfilled(piece) for piece in tagged_content(part["text"], [None] * tags)] if tags else [part]


def _unfilled(part: Part) -> Part:
    return {"type": "image"} if part["type"] == "image" else part


def _is_place(part: Part) -> bool:
    """Whether a part waits for an image."""
    return part["type"] == "image" and not any(name in part for name in _PAYLOADS)


def _put_first(parted: list[dict[str, Any]], messages: Sequence[Message], count: int) -> None:
    """Make places before the first text of the user; typed content has to have its own, as in TRL."""
    for message, written in zip(parted, messages, strict=True):
        if written["role"] == "user" and isinstance(written.get("content"), str):
            message["content"] = [{"type": "image"}] * count + message["content"]
            return


def _filled(part: Part, rest: Iterator[Media], column: str, reading: Mapping[str, Any]) -> Part:
    if _is_place(part):
        return image_part(next(rest))
    if part["type"] not in ("image", "image_url"):
        return part
    name = next((name for name in _PAYLOADS if name in part), "image")
    value = part.get(name)
    if name in ("image", "image_url") and isinstance(value, Mapping) and "url" in value:
        value = value["url"]
    return image_part(as_image({name: value} if name == "bytes" else value, f"{column}: {name}", **reading))


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
