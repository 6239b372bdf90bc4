"""From a prompt with images to what a processor makes of it, and from a response to its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL.Image import Image
from torch import Tensor

from modalign.core.content import content_hash
from modalign.core.errors import RowError
from modalign.modalities.text.chat import Message
from modalign.modalities.text.tokenization import BoundaryTokenizer, Prompt
from modalign.modalities.vision_language.images import image_key, open_image, scaled
from modalign.modalities.vision_language.messages import PartsRenderer, checked_prompt, texts_of
from modalign.modalities.vision_language.processor import by_kind, placeholders
from modalign.modalities.vision_language.prompts import answer, images_of

PROCESSOR_ERRORS = (ValueError, TypeError, IndexError, KeyError, RuntimeError, AttributeError)


@dataclass(frozen=True)
class VisionPrompt(Prompt):
    """A prompt as its processor encoded it.

    Attributes:
        text: The rendered chat, with one placeholder an image.
        images: The pictures that the processor was given.
        processed_text: The text that it was given.
        special: Whether it was to add special tokens.
        plain_ids: The tokens of `text` as it stands.
        image_tokens: How many of the tokens there are because of the images.
        token_wise: See `VisionCell`.
        vision: See `VisionCell`.
        vision_key: See `VisionCell`.
    """

    images: Sequence[Image] = ()
    processed_text: str = ""
    special: bool = False
    plain_ids: Sequence[int] = ()
    image_tokens: int = 0
    token_wise: Mapping[str, Tensor] = field(default_factory=dict)
    vision: Mapping[str, Tensor] = field(default_factory=dict)
    vision_key: str = ""


@dataclass(frozen=True)
class VisionTokenizer(BoundaryTokenizer):
    """Tokenises prompts through a processor, and responses apart from the images.

    Args:
        processor: A transformers processor whose chat template is set; its tokenizer is `tokenizer`.
        longest_side: Images are scaled down to so many pixels before the processor sees them; None for no limit.
    """

    processor: Any = None
    longest_side: int | None = None

    def prompt(self, prompt: Any, extra: Mapping[str, Any], scale: float = 1.0) -> VisionPrompt:
        """Encode a prompt, with the assistant's turn opened.

        Args:
            prompt: Text, or messages with images.
            extra: A row's `tools`, `documents` and `chat_template_kwargs`.
            scale: Factor on the sides of its images.

        Raises:
            RowError: It is no prompt, an image cannot be decoded, its text holds the text that stands for an image, or
                the processor refuses it.
        """
        messages = checked_prompt(prompt)
        for text in texts_of(messages):
            self._refuse_placeholders(text, "prompt")
        images = [open_image(image, self.longest_side) for image in images_of(messages)]
        if scale != 1:
            images = [scaled(image, scale) for image in images]
        keys = [scale, self.longest_side, *map(image_key, images_of(messages))]
        text = self._chat.render(messages, extra, generation_prompt=True)
        self._check_placeholders(text, len(images))
        return self._processed(messages, text, images, content_hash(keys) if images else "")

    def completion(self, prompt: Prompt, response: Any, extra: Mapping[str, Any], column: str) -> list[int]:
        """See `BoundaryTokenizer.completion`; text is the content of the assistant's message.

        Raises:
            RowError: As there, or the response holds an image, or the text that stands for one.
        """
        reply = answer(response) if isinstance(response, str) else response
        if images_of(reply):
            raise RowError("the response holds an image", "Put images into the prompt.", column)
        completion = super().completion(prompt, reply, extra, column)
        for message in reply:
            if isinstance(content := message.get("content"), str):
                self._refuse_placeholders(content, column)
        self._refuse_placeholder_ids(completion, column)
        return completion

    def _completion_ids(self, prompt: Prompt, whole: str, column: str) -> list[int]:
        """As for text, but the prompt's tokens before the images are laid out decide what the response follows."""
        assert isinstance(prompt, VisionPrompt)
        before, ids = list(prompt.plain_ids), self._ids(whole, column)
        # A processor may write more after the prompt (PaliGemma a line break), which the response then follows.
        joined = ids[: len(before)] == before and before[-1:] == prompt.ids[-1:]
        return ids[len(before) :] if joined else self._ids(whole[len(prompt.text) :], column)

    def _processed(self, messages: list[Message], text: str, images: list[Image], key: str) -> VisionPrompt:
        encoded, processed_text, special = self._call(text, images)
        ids = encoded["input_ids"][0].tolist()
        if not ids:
            raise RowError("the chat template writes nothing for the prompt", "Check the messages.", "prompt")
        token_wise, vision = by_kind(encoded, len(ids))
        plain = self._ids(text, "prompt")
        return VisionPrompt(
            ids,
            messages,
            text,
            images,
            processed_text,
            special,
            plain,
            self._image_tokens(ids, plain, len(images)),
            token_wise,
            vision,
            key,
        )

    def _image_tokens(self, ids: list[int], plain: list[int], images: int) -> int:
        """How many more tokens there are than the prompt would have without its placeholders."""
        if not images:
            return 0
        bos = self.tokenizer.bos_token_id
        return len(ids) - ids.count(bos) - (len(plain) - plain.count(bos)) + images

    def _call(self, text: str, images: list[Image]) -> tuple[Mapping[str, Any], str, bool]:
        """The processor's output for one prompt; its begin-of-sequence token stands there once, and nothing ends it.

        Returns:
            The output, the text that the processor was given, and whether it was to add special tokens.
        """
        bos = self.tokenizer.bos_token
        special = not self._ends_text and not (bos and text.startswith(bos))
        if self._ends_text and bos and self._start and not text.startswith(bos):
            text = bos + text
        encoded = self._output(text, images, special)
        if special and _count(encoded, self.tokenizer.bos_token_id) > max(1, text.count(bos or "\0")):
            special, encoded = False, self._output(text, images, False)
        return encoded, text, special

    def _output(self, text: str, images: list[Image], special: bool) -> Mapping[str, Any]:
        try:
            return self.processor(  # type: ignore[no-any-return]
                text=[text], images=[images] if images else None, add_special_tokens=special, return_tensors="pt"
            )
        except PROCESSOR_ERRORS as error:
            raise RowError(
                f"the processor refuses the prompt: {str(error) or type(error).__name__}",
                "Check its images and its text."
                if images
                else "The prompt has no image: give it one if the model's processor asks for one.",
                "prompt",
            ) from error

    def _check_placeholders(self, text: str, images: int) -> None:
        token = getattr(self.processor, "image_token", None)
        if token and (found := text.count(token)) != images:
            raise RowError(
                f"the chat template does not place the images: it writes {token!r} {found} times for {images}",
                "Set modality.chat_template to one that writes it once for each image part.",
                "prompt",
            )

    def _refuse_placeholders(self, text: str, column: str) -> None:
        for token in self.placeholders:
            if token in text:
                raise RowError(
                    f"the text holds what stands for an image: {token!r}",
                    "Remove it; where an image is meant, give the prompt an image part in its place.",
                    column,
                )

    def _refuse_placeholder_ids(self, completion: list[int], column: str) -> None:
        found = sorted(self.placeholder_ids.intersection(completion))
        if found:
            raise RowError(
                f"the response holds what stands for an image: {self.tokenizer.convert_ids_to_tokens(found[0])!r}",
                "Remove it from the response.",
                column,
            )

    @cached_property
    def _chat(self) -> PartsRenderer:
        return PartsRenderer(self.processor, self.chat_options)

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
