"""Prompts with images: chats whose messages hold text and images in the order in which they are read.

A prompt is a list of messages; a message's content is text, or a list of parts: `{"type": "text", "text": ...}` and
`{"type": "image", "image": ...}`. An image is a `Media` (a file, not decoded), a PIL image, or an `AlteredImage` of
one. A response is a list with the assistant's message; it holds no images.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modalign.core.errors import RowError

Message = Mapping[str, Any]
Part = Mapping[str, Any]
IMAGE_TAG = "<image>"


def question(text: str, images: Sequence[Any] = ()) -> list[Message]:
    """A chat of one user message: text in which `<image>` tags are replaced by images in their order.

    Images without a tag stand before the text, as TRL places them.

    Raises:
        RowError: There are tags for more images than there are, or tags for some of them only.
    """
    return [{"role": "user", "content": tagged_content(text, images)}]


def tagged_content(text: str, images: Sequence[Any]) -> list[Part]:
    """The parts of a message whose text may hold `<image>` tags.

    Raises:
        RowError: There are tags, and not one for each image.
    """
    pieces = text.split(IMAGE_TAG)
    if len(pieces) == 1:
        return [*map(image_part, images), text_part(text)]
    if len(pieces) - 1 != len(images):
        raise RowError(
            f"the prompt has {len(pieces) - 1} {IMAGE_TAG} tags and {len(images)} images",
            "Give one image a tag, or no tags at all.",
            "prompt",
        )
    parts = [part for image, piece in zip(images, pieces[1:], strict=True) for part in _after(image, piece)]
    first = pieces[0]
    return [text_part(first), *parts] if first.strip() else parts


def answer(text: str) -> list[Message]:
    """A response: the assistant's one message."""
    return [{"role": "assistant", "content": text}]


def image_part(image: Any) -> Part:
    return {"type": "image", "image": image}


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def images_of(prompt: Any) -> list[Any]:
    """The images of a prompt, in reading order; none where it is plain text, and None for a part that holds none."""
    return [
        part.get("image") for message in _messages(prompt) for part in _parts(message) if part.get("type") == "image"
    ]


def with_images(prompt: Sequence[Message], images: Sequence[Any]) -> list[Message]:
    """The same prompt with other images in the places of its own.

    Raises:
        ValueError: There is another number of them.
    """
    if len(images) != len(images_of(prompt)):
        raise ValueError(f"the prompt has {len(images_of(prompt))} images, and {len(images)} are given")
    rest = iter(images)
    return [
        {**message, "content": [image_part(next(rest)) if part.get("type") == "image" else part for part in parts]}
        if (parts := list(_parts(message)))
        else message
        for message in prompt
    ]


def _after(image: Any, text: str) -> list[Part]:
    """An image and the text that follows its tag; a line break that only set the tag apart is left to the template."""
    text = text.removeprefix("\n")
    return [image_part(image), text_part(text)] if text.strip() else [image_part(image)]


def _messages(prompt: Any) -> Iterator[Message]:
    if isinstance(prompt, Sequence) and not isinstance(prompt, str | bytes):
        yield from (message for message in prompt if isinstance(message, Mapping))


def _parts(message: Message) -> Iterator[Part]:
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        yield from (part for part in content if isinstance(part, Mapping))
