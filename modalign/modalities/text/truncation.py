"""How long prompts and responses may be, in tokens, and what is cut where they are longer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from modalign.core.errors import RowError, UserError

Truncation = Literal["keep_end", "keep_start", "error"]
Tokens = list[int]


@dataclass(frozen=True)
class Limits:
    """Lengths in tokens, and what gives way.

    Args:
        max_length: Of a prompt with its response; None for no limit.
        max_prompt_length: Of a prompt.
        max_completion_length: Of a response; every candidate's end is cut there. None never cuts a response.
        truncation: Which part of a prompt that is too long is kept; "error" makes its row a bad row.
    """

    max_length: int | None = None
    max_prompt_length: int | None = None
    max_completion_length: int | None = None
    truncation: Truncation = "keep_end"

    def __post_init__(self) -> None:
        for name in ("max_length", "max_prompt_length", "max_completion_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"modality.{name} is {value}; it counts tokens.", "Use a positive number, or null.")

    def fit(
        self, prompts: Sequence[Tokens], completions: Sequence[Tokens], bos: int | None
    ) -> list[tuple[Tokens, Tokens]]:
        """Cut the candidates of one comparison: all prompts to what fits beside the longest response.

        Chosen and rejected are cut alike, so that they stay responses to the same prompt.

        Args:
            prompts: One a candidate.
            completions: One a candidate.
            bos: The begin-of-sequence token, which is kept whatever is cut.

        Raises:
            RowError: There is no room for a prompt, or two candidates only differed in what was cut.
        """
        cut = [completion[: self.max_completion_length] for completion in completions]
        room = self.prompt_room(max(len(completion) for completion in cut))
        fitted = [
            (self.cut_prompt(prompt, room, bos), completion) for prompt, completion in zip(prompts, cut, strict=True)
        ]
        _refuse_made_equal(list(zip(prompts, completions, strict=True)), fitted)
        return fitted

    def cut_prompt(self, prompt: Tokens, room: int | None, bos: int | None) -> Tokens:
        """The part of a prompt that is kept where `room` tokens fit.

        Raises:
            RowError: It does not fit, and `truncation` is "error".
        """
        if room is None or len(prompt) <= room:
            return prompt
        if self.truncation == "error":
            raise RowError(
                f"the prompt has {len(prompt)} tokens, and {room} fit",
                "Raise modality.max_length, or set modality.truncation to keep_end.",
                "prompt",
            )
        if self.truncation == "keep_start":
            return prompt[:room]
        begin = prompt[:1] if prompt[0] == bos and room > 1 else []
        return begin + prompt[len(prompt) - room + len(begin) :]

    def prompt_room(self, longest: int) -> int | None:
        """Tokens left for a prompt beside a response of `longest` tokens; None for any number.

        Raises:
            RowError: There are none.
        """
        if self.max_length is None:
            return self.max_prompt_length
        rest = self.max_length - longest
        if rest < 1:
            raise RowError(
                f"a response has {longest} tokens, which leaves no room for its prompt in {self.max_length}",
                "Raise modality.max_length, or set modality.max_completion_length to cut responses.",
            )
        return rest if self.max_prompt_length is None else min(rest, self.max_prompt_length)


def _refuse_made_equal(before: Sequence[tuple[Tokens, Tokens]], after: Sequence[tuple[Tokens, Tokens]]) -> None:
    for second in range(len(after)):
        for first in range(second):
            if after[first] == after[second] and before[first] != before[second]:
                raise RowError(
                    "two candidates are the same once they are cut to fit",
                    "Raise modality.max_length, modality.max_prompt_length or modality.max_completion_length.",
                )
