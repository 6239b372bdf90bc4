"""Prompts with media: chats whose messages hold text and images, or text and sounds, in the order they are taken in.

A prompt is a list of messages; a message's content is text, or a list of parts: `{"type": "text", "text": ...}` and
`{"type": "image", "image": ...}` or `{"type": "audio", "audio": ...}`. An image is a `Media` (a file, not decoded), a
PIL image, or an `AlteredImage` of one; a sound is a `Media`, a `Clip`, or an `AlteredSound` of one. A response is a
list with the assistant's message; it holds no media.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modalign.core.errors import RowError

Message = Mapping[str, Any]
Part = Mapping[str, Any]

IMAGE = "image"
AUDIO = "audio"
NOUNS = {IMAGE: "image", AUDIO: "sound"}
"""What the media of a kind are called; the kind itself is the type of their parts, and the key they are under."""

IMAGE_TAG = f"<{IMAGE}>"


def tag(kind: str) -> str:
    """What text may hold in the place of a medium."""
    return f"<{kind}>"


def question(text: str, media: Sequence[Any] = (), kind: str = IMAGE) -> list[Message]:
    """A chat of one user message: text in which tags such as `<image>` are replaced by media in their order.

    Media without a tag stand before the text, as TRL places images.

    Raises:
        RowError: There are tags for more media than there are, or tags for some of them only.
    """
    return [{"role": "user", "content": tagged_content(text, media, kind)}]


def tagged_content(text: str, media: Sequence[Any], kind: str = IMAGE) -> list[Part]:
    """The parts of a message whose text may hold tags.

    Raises:
        RowError: There are tags, and not one for each medium.
    """
    pieces = text.split(tag(kind))
    if len(pieces) == 1:
        return [*(media_part(medium, kind) for medium in media), text_part(text)]
    if len(pieces) - 1 != len(media):
        raise RowError(
            f"the prompt has {len(pieces) - 1} {tag(kind)} tags and {len(media)} {NOUNS[kind]}s",
            f"Give one {NOUNS[kind]} a tag, or no tags at all.",
            "prompt",
        )
    parts = [part for medium, piece in zip(media, pieces[1:], strict=True) for part in _after(medium, piece, kind)]
    first = pieces[0]
    return [text_part(first), *parts] if first.strip() else parts


def answer(text: str) -> list[Message]:
    """A response: the assistant's one message."""
    return [{"role": "assistant", "content": text}]


def image_part(image: Any) -> Part:
    return media_part(image, IMAGE)


def media_part(medium: Any, kind: str) -> Part:
    return {"type": kind, kind: medium}


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def images_of(prompt: Any) -> list[Any]:
    """The images of a prompt; see `media_of`."""
    return media_of(prompt, IMAGE)


def media_of(prompt: Any, kind: str) -> list[Any]:
    """The media of a prompt, in reading order; none where it is plain text, and None for a part that holds none."""
    return [part.get(kind) for message in _messages(prompt) for part in _parts(message) if part.get("type") == kind]


def with_images(prompt: Sequence[Message], images: Sequence[Any]) -> list[Message]:
    """The same prompt with other images; see `with_media`."""
    return with_media(prompt, images, IMAGE)


def with_media(prompt: Sequence[Message], media: Sequence[Any], kind: str) -> list[Message]:
    """The same prompt with other media in the places of its own.

    Raises:
        ValueError: There is another number of them.
    """
    own = len(media_of(prompt, kind))
    if len(media) != own:
        raise ValueError(f"the prompt has {own} {NOUNS[kind]}s, and {len(media)} are given")
    rest = iter(media)
    return [
        {**message, "content": [media_part(next(rest), kind) if part.get("type") == kind else part for part in parts]}
        if (parts := list(_parts(message)))
        else message
        for message in prompt
    ]


def _after(medium: Any, text: str, kind: str) -> list[Part]:
    """A medium and the text that follows its tag; a line break that only set the tag apart is left to the template."""
    text = text.removeprefix("\n")
    own = media_part(medium, kind)
    return [own, text_part(text)] if text.strip() else [own]


def _messages(prompt: Any) -> Iterator[Message]:
    if isinstance(prompt, Sequence) and not isinstance(prompt, str | bytes):
        yield from (message for message in prompt if isinstance(message, Mapping))


def _parts(message: Message) -> Iterator[Part]:
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        yield from (part for part in content if isinstance(part, Mapping))
