"""How the policy is asked for the response to reject: to fill blanks in the chosen one, or to answer anew."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from modalign.core.errors import ConfigError
from modalign.core.media import Media
from modalign.modalities.vision_language.build.demonstrations import Demonstration
from modalign.modalities.vision_language.build.masking import BLANK, Masking
from modalign.modalities.vision_language.prompts import IMAGE_TAG, Message, text_part, with_images

MASKED = "{masked}"
INSTRUCTION = (
    f"Here is an answer with blanks. Write the whole answer, with every {BLANK} filled in so that it describes the "
    f"image, and nothing else.\n\n{MASKED}"
)


class Asking(ABC):
    """Makes the prompts under which rejected responses are sampled."""

    def masked(self, chosen: str) -> str | None:
        """The response with blanks that a prompt shows; None where it shows none."""
        return None

    @abstractmethod
    def prompt(self, demonstration: Demonstration, neighbour: Media) -> list[Message] | None:
        """A chat with the neighbour in the image's place; None where there is nothing to ask."""


class AskAnew(Asking):
    """The same prompt under the other image."""

    def prompt(self, demonstration: Demonstration, neighbour: Media) -> list[Message] | None:
        """See `Asking.prompt`."""
        return with_images(demonstration.prompt, [neighbour])


class AskToFill(Asking):
    """The same prompt under the other image, and after it the chosen response with blanks to be filled.

    Args:
        masking: Makes the blanks.
        instruction: What to say; `{masked}` stands for the response with blanks.

    Raises:
        ConfigError: The instruction does not show the response.
    """

    def __init__(self, masking: Masking, instruction: str = INSTRUCTION) -> None:
        if MASKED not in instruction:
            raise ConfigError(
                f"--instruction does not say where the response with blanks goes: {instruction!r}",
                f"Write {MASKED} in it.",
            )
        self.masking, self.instruction = masking, instruction

    def masked(self, chosen: str) -> str | None:
        return self.masking.masked(chosen)

    def prompt(self, demonstration: Demonstration, neighbour: Media) -> list[Message] | None:
        """See `Asking.prompt`."""
        masked = self.masked(demonstration.chosen)
        if masked is None:
            return None
        request = self.instruction.replace(MASKED, masked)
        return _followed_by(with_images(demonstration.prompt, [neighbour]), f"\n\n{request}")


def as_written(prompt: Sequence[Message], response: str) -> list[dict[str, str]]:
    """A prompt and its response as Re-Align writes them: contents are text, a tag in an image's place."""
    turns = [{"role": message["role"], "content": _tagged(message["content"])} for message in prompt]
    return [*turns, {"role": "assistant", "content": response}]


def _tagged(content: object) -> str:
    if isinstance(content, str):
        return content
    assert isinstance(content, Sequence)
    pieces = [f"{IMAGE_TAG}\n" if part["type"] == "image" else part["text"] for part in content]
    return "".join(pieces)


def _followed_by(prompt: Sequence[Message], text: str) -> list[Message]:
    """A prompt whose last message of the user goes on with a text."""
    last = max(number for number, message in enumerate(prompt) if message["role"] == "user")
    content = prompt[last]["content"]
    if isinstance(content, str):
        longer: object = content + text
    elif content and content[-1].get("type") == "text":
        longer = [*content[:-1], text_part(content[-1]["text"] + text)]
    else:
        longer = [*content, text_part(text.lstrip("\n"))]
    return [{**message, "content": longer} if number == last else message for number, message in enumerate(prompt)]
