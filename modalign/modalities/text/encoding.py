"""From comparisons to token cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modalign.core.batch import Comparison, Example
from modalign.modalities.text.corrected_tokens import marked_tokens
from modalign.modalities.text.tokenization import BoundaryTokenizer, Prompt
from modalign.modalities.text.truncation import Limits


@dataclass(frozen=True, eq=False)
class TextCell:
    """One encoded candidate.

    Attributes:
        prompt: `(P,)` int32, P >= 1.
        completion: `(C,)` int32, C >= 1: the tokens that are scored.
        corrected: `(C,)` int8, 1 on tokens that the data marks as corrected; None where it marks none.
    """

    prompt: Tensor
    completion: Tensor
    corrected: Tensor | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class TextEncoder:
    """Tokenises comparisons and cuts them to fit.

    Args:
        tokens: How text becomes tokens.
        limits: How many of them are allowed.
    """

    tokens: BoundaryTokenizer
    limits: Limits

    def encode(self, comparison: Comparison) -> Example:
        """Encode every candidate under its own context, or under the prompt they share.

        Raises:
            RowError: A prompt or response is of a wrong type, empty, or leaves no room for the other.
        """
        shared: Prompt | None = None
        prompts, completions = [], []
        for candidate in comparison.candidates:
            if candidate.context is not None:
                prompt = self.tokens.prompt(candidate.context, comparison.extra)
            else:
                prompt = shared = shared or self.tokens.prompt(comparison.prompt, comparison.extra)
            prompts.append(prompt.ids)
            completions.append(
                self.tokens.completion(prompt, candidate.response, comparison.extra, column=candidate.role)
            )
        fitted = self.limits.fit(prompts, completions, self.tokens.tokenizer.bos_token_id)
        cut = [len(completion) for _, completion in fitted]
        marked = marked_tokens(comparison, completions, cut, self.tokens.tokenizer)
        return Example(
            comparison,
            cells=tuple(
                TextCell(_tensor(prompt), _tensor(completion), corrected=mask)
                for (prompt, completion), mask in zip(fitted, marked, strict=True)
            ),
            sizes=tuple(len(completion) for _, completion in fitted),
            truncated=fitted != list(zip(prompts, completions, strict=True)),
        )

    def encode_prompt(self, prompt: Any, room: int | None, extra: Mapping[str, Any] | None = None) -> list[int]:
        """The tokens of a prompt to generate from, cut to `room` of them.

        Raises:
            RowError: It is neither text nor a chat, or does not fit and may not be cut.
        """
        ids = self.tokens.prompt(prompt, extra or {}).ids
        return self.limits.cut_prompt(ids, room, self.tokens.tokenizer.bos_token_id)


def _tensor(tokens: list[int]) -> Tensor:
    return torch.tensor(tokens, dtype=torch.int32)
