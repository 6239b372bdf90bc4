"""What tells one kind of language model of codec tokens from another."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.audio.tokens.delays import DelayPattern


@dataclass(frozen=True)
class TokenSource:
    """Where a model comes from.

    Attributes:
        folder: The folder of its configuration and weights, or a hub id; of an adapter, its base's.
        processor: The same of its processor.
        revision: Branch, tag or commit of a hub id.
        processor_revision: The same for the processor.
    """

    folder: str
    processor: str
    revision: str | None = None
    processor_revision: str | None = None


@dataclass(frozen=True)
class Heard:
    """What a decoder attends to of N prompts.

    Attributes:
        states: `(N, S, D)`.
        mask: `(N, S)`, 1 on tokens and 0 on padding.
    """

    states: Tensor
    mask: Tensor

    def rows(self, index: Tensor) -> "Heard":
        """Those of some prompts, in their order."""
        return Heard(self.states[index], self.mask[index])


class TokenFamily(ABC):
    """An adapter of one class of transformers' text-to-audio language models.

    It is made from configuration files alone, and registered by `modalign_register_token_families`. A model is found
    its family by the class of its configuration.

    Attributes:
        config_class: The name of the class of the configuration.
        model_class: The name of the class of the model.
        frozen: Names of the model's parts that are not trained: text encoder and codec.
        heads: Names of its output heads, to which "all-linear" adds no adapter.
        lora_targets: Last parts of the names of the modules that get an adapter where the user names none.

    Args:
        config: Of the model.
        source: Where the rest of it is.

    Raises:
        UserError: It is a model of the class that the adapter cannot serve.
    """

    config_class: ClassVar[str]
    model_class: ClassVar[str]
    frozen: ClassVar[tuple[str, ...]]
    heads: ClassVar[tuple[str, ...]]
    lora_targets: ClassVar[tuple[str, ...]]

    def __init__(self, config: Any, source: TokenSource) -> None:
        self.config = config
        self.source = source

    @property
    @abstractmethod
    def pattern(self) -> DelayPattern:
        """How codes become a sequence."""

    @property
    @abstractmethod
    def positions(self) -> int:
        """The most steps of a sequence."""

    @property
    @abstractmethod
    def rate(self) -> int:
        """Samples a second, as the codec takes them."""

    @property
    @abstractmethod
    def hop(self) -> int:
        """Samples a frame of codes."""

    @property
    def channels(self) -> int:
        """Of the sounds: 1 or 2."""
        return 1

    @property
    def longest(self) -> int:
        """The most frames of a sound."""
        return self.positions - self.pattern.tail

    def frames(self, samples: int) -> int:
        """How many frames of codes so many samples of each channel make."""
        return ceil(samples / self.hop)

    def frames_in(self, seconds: float, option: str) -> int:
        """The whole frames in so many seconds.

        Raises:
            ConfigError: There is none, or more than the model takes.
        """
        frames = int(seconds * self.rate / self.hop + 1e-6)
        if not 1 <= frames <= self.longest:
            raise ConfigError(
                f"{option} is {seconds:g}, which is {frames} frames; the model takes 1 to {self.longest}.",
                f"Give {self.hop / self.rate:.3g} to {self.longest * self.hop / self.rate:.4g} seconds.",
            )
        return frames

    def prompt_ids(self, tokenizer: Any, prompt: str) -> Sequence[int]:
        """A prompt's tokens, as the model's processor makes them of this prompt alone.

        Raises:
            RowError: The model cannot take it.
        """
        ids: Sequence[int] = tokenizer(prompt)["input_ids"]
        if not ids:
            raise RowError("the prompt is empty", "Give each row a prompt.")
        return ids

    @abstractmethod
    def load_codec(self) -> nn.Module:
        """The codec, in float32 on the CPU.

        Raises:
            UserError: It cannot be found or does not fit the model.
        """

    def codec_files(self) -> Sequence[Path]:
        """What the codec is loaded from, as far as it is known to lie on this machine."""
        return files_in(self.source.folder)

    @abstractmethod
    def codes(self, codec: Any, samples: Tensor) -> Tensor:
        """`(T, K)` codes of one sound.

        Args:
            codec: From `load_codec`.
            samples: `(channels, samples)` at `rate`.
        """

    @abstractmethod
    def samples(self, codec: Any, codes: Tensor) -> Tensor:
        """`(channels, samples)` of `(T, K)` codes."""

    @abstractmethod
    def hear(self, model: Any, ids: Tensor, mask: Tensor) -> Heard:
        """What the decoder attends to of prompts; the text encoder computes without gradient and dropout.

        Args:
            model: Of transformers.
            ids: `(N, S)`, padded at the end.
            mask: `(N, S)`.
        """

    @abstractmethod
    def unheard(self, model: Any, ids: Tensor, mask: Tensor) -> Heard:
        """What it attends to instead, of prompts as `hear` takes them, for classifier-free guidance."""

    @abstractmethod
    def hidden(self, model: Any, heard: Heard, tokens: Tensor, cache: Any = None) -> Tensor:
        """`(N, P, D)` hidden states that predict the step after each of `(N, P, K)`.

        Args:
            model: Of transformers.
            heard: Of N prompts.
            tokens: Steps; those after the ones in the cache.
            cache: Of transformers; it is filled. None for no cache.
        """

    @abstractmethod
    def logits(self, model: Any, hidden: Tensor) -> Tensor:
        """`(M, K, V)` of `(M, D)` hidden states."""

    def guided(self, logits: Tensor, unguided: Tensor, scale: float, top_k: int | None) -> Tensor:
        """Logits by classifier-free guidance, as the model's own `generate` mixes them.

        Args:
            logits: `(N, K, V)` with the prompt.
            unguided: `(N, K, V)` without.
            scale: 1 is the logits themselves.
            top_k: How many tokens may be drawn.
        """
        return unguided + (logits - unguided) * scale

    def allowed(self, logits: Tensor) -> Tensor:
        """`(N, K, V)` logits, minus infinity for tokens that may not be drawn."""
        return logits


def files_in(place: str) -> list[Path]:
    """The files of a folder; none of a hub id."""
    return sorted(path for path in Path(place).iterdir() if path.is_file()) if Path(place).is_dir() else []


def frozen_pattern(names: Sequence[str]) -> str:
    """A regular expression for the full names of modules and of all within them."""
    joined = "|".join(name.replace(".", r"\.") for name in names)
    return rf"(?:{joined})(?:\..*)?"


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """`(N, S)` tokens, padded at the end by zeros, and the mask of those that are none."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask
