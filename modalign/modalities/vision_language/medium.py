"""What prompts hold beside text: media of one kind, and how they reach a processor."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from modalign.modalities.vision_language.prompts import NOUNS


class Medium(ABC):
    """How media of one kind are opened, told apart and handed to a processor.

    Attributes:
        kind: The type of their parts, such as "image".
    """

    kind: ClassVar[str]

    @property
    def noun(self) -> str:
        """What messages call one of them."""
        return NOUNS[self.kind]

    @property
    @abstractmethod
    def settings(self) -> Sequence[Any]:
        """What decides beside its content what opening a medium gives."""

    @abstractmethod
    def open(self, value: Any) -> Any:
        """What the processor is given for a medium as prompts hold it.

        Raises:
            RowError: It is none, or cannot be decoded.
        """

    @abstractmethod
    def key(self, value: Any) -> str:
        """A hash of what decides a medium's content.

        Raises:
            RowError: It is none, or cannot be read.
        """

    @abstractmethod
    def arguments(self, prompts: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """What a processor is called with for the opened media of several prompts; nothing where there are none."""

    def padding(self, options: dict[str, Any]) -> dict[str, Any]:
        """What a processor is called with for its tokenizer, and nothing else, to pad by these options."""
        return options

    def scaled(self, factor: float) -> "Medium":
        """The same, but what is opened is made smaller by a factor; for kinds that can be."""
        raise NotImplementedError(f"a {self.noun} cannot be made smaller")

    def cuts(self, value: Any) -> bool:
        """Whether the processor gets only a part of a medium.

        Raises:
            RowError: It is none, or cannot be read.
        """
        return False

    def check_tokens(self, ids: Sequence[int], plain_ids: Sequence[int], places: frozenset[int]) -> None:  # noqa: B027
        """Refuse a prompt in which the processor left a medium out.

        Args:
            ids: The tokens of the prompt, its media laid out.
            plain_ids: Those before, with one placeholder a medium.
            places: The tokens that stand for media.

        Raises:
            RowError: One has no tokens.
        """
