"""From comparisons to cells of tokens and media."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import torch
from torch import Tensor

from modalign.core.batch import Comparison, Example
from modalign.core.errors import RowError
from modalign.modalities.image.decoding import MIN_SIDE
from modalign.modalities.text.corrected_tokens import marked_tokens
from modalign.modalities.text.truncation import Limits
from modalign.modalities.vision_language.cell import MediaCell
from modalign.modalities.vision_language.tokenization import MediaPrompt, MediaTokenizer

TooLong = Literal["error", "resize"]
RESIZES = 8
WELL_FILLED = 0.95
"""Images are not scaled more closely than to this share of the room there is."""


@dataclass(frozen=True)
class MediaEncoder:
    """Encodes comparisons; a context that candidates share is processed once.

    Args:
        tokens: How prompts and responses become tokens.
        limits: How many of them are allowed; prompts are never cut.
        too_long: Whether the images of a prompt that is too long are scaled down until it fits; None for other media.
    """

    tokens: MediaTokenizer
    limits: Limits
    too_long: TooLong | None = None

    def encode(self, comparison: Comparison) -> Example:
        """Encode every candidate under its own context, or under the prompt they share.

        Raises:
            RowError: A prompt or response cannot be used, or does not fit.
        """
        extra = comparison.extra
        contexts, places = _distinct(
            [comparison.prompt if each.context is None else each.context for each in comparison.candidates]
        )
        prompts = [self.tokens.prompt(context, extra) for context in contexts]
        completions = [
            self.tokens.completion(prompts[place], candidate.response, extra, column=candidate.role)
            for place, candidate in zip(places, comparison.candidates, strict=True)
        ]
        cut = [completion[: self.limits.max_completion_length] for completion in completions]
        room = self.limits.prompt_room(max(map(len, cut)))
        fitted = [self._fitted(*pair, room, extra) for pair in zip(contexts, prompts, strict=True)]
        _refuse_made_equal(places, completions, cut)
        smaller = any(a is not b for a, b in zip(fitted, prompts, strict=True))
        marked = marked_tokens(comparison, completions, list(map(len, cut)), self.tokens.tokenizer)
        return Example(
            comparison,
            cells=tuple(
                _cell(fitted[place], completion, corrected)
                for place, completion, corrected in zip(places, cut, marked, strict=True)
            ),
            sizes=tuple(map(len, cut)),
            truncated=cut != completions or smaller or any(prompt.cut for prompt in fitted),
        )

    def encode_prompt(self, prompt: Any, room: int | None, extra: Mapping[str, Any] | None = None) -> MediaPrompt:
        """A prompt to generate from, of at most `room` tokens.

        Raises:
            RowError: It cannot be used, or does not fit.
        """
        return self._fitted(prompt, self.tokens.prompt(prompt, extra or {}), room, extra or {})

    def _fitted(self, context: Any, prompt: MediaPrompt, room: int | None, extra: Mapping[str, Any]) -> MediaPrompt:
        """The prompt where `room` tokens hold it, or else with smaller images."""
        if room is None or len(prompt.ids) <= room:
            return prompt
        if self.too_long == "resize" and prompt.opened:
            resized = self._resized(context, prompt, room, extra)
            if resized is not None:
                return resized
        raise self._refusal(prompt, room)

    def _resized(self, context: Any, prompt: MediaPrompt, room: int, extra: Mapping[str, Any]) -> MediaPrompt | None:
        """The prompt with its images scaled down by one factor, as little as `room` asks; None where nothing helps."""
        smallest = min(1.0, MIN_SIDE / min(min(image.size) for image in prompt.opened))
        fitting = self.tokens.prompt(context, extra, smallest)
        if len(fitting.ids) > room:
            return None
        low, high = smallest, 1.0
        # The tokens of an image grow with its area, though in steps and up to a limit: so much for a first guess.
        scale = sqrt(max(0, room - len(prompt.ids) + prompt.media_tokens) / max(1, prompt.media_tokens))
        for _ in range(RESIZES):
            scale = scale if low < scale < high else sqrt(low * high)
            tried = self.tokens.prompt(context, extra, scale)
            if len(tried.ids) > room:
                high = scale
            else:
                low, fitting = scale, tried
                if len(tried.ids) >= WELL_FILLED * room:
                    break
            scale = sqrt(low * high)
        return fitting

    def _refusal(self, prompt: MediaPrompt, room: int) -> RowError:
        noun, count = self.tokens.medium.noun, len(prompt.opened)
        media = f", {prompt.media_tokens} of them for {count} {noun}s" if count else ""
        cures = ["Raise modality.max_length"]
        if count and self.too_long is not None:
            cures.append(
                "set modality.too_long: resize to scale such images down"
                if self.too_long == "error"
                else "make the prompt shorter: the smallest images do not help"
            )
        return RowError(
            f"the prompt is too long: it has {len(prompt.ids)} tokens{media}, and {room} fit",
            f"{', '.join(cures)}, or leave such rows out by on_bad_row: skip.",
            "prompt",
        )


def _cell(prompt: MediaPrompt, completion: Sequence[int], corrected: Tensor | None) -> MediaCell:
    return MediaCell(
        torch.tensor(prompt.ids, dtype=torch.int32),
        torch.tensor(completion, dtype=torch.int32),
        prompt.token_wise,
        prompt.media,
        prompt.media_key,
        corrected=corrected,
    )


def _distinct(contexts: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The contexts without repetition, and each one's place among them."""
    distinct: list[Any] = []
    places = []
    for context in contexts:
        place = next((n for n, known in enumerate(distinct) if known is context or known == context), len(distinct))
        if place == len(distinct):
            distinct.append(context)
        places.append(place)
    return distinct, places


def _refuse_made_equal(
    places: Sequence[int], completions: Sequence[Sequence[int]], cut: Sequence[Sequence[int]]
) -> None:
    for second in range(len(cut)):
        for first in range(second):
            same_context = places[first] == places[second]
            if same_context and cut[first] == cut[second] and completions[first] != completions[second]:
                raise RowError(
                    "two candidates are the same once they are cut to fit", "Raise modality.max_completion_length."
                )
