"""Pairs as TRL has them: `chosen` and `rejected`, with the prompt in a column of its own or at the start of both."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats.chat import Content, Message, content, looks_like_content
from modalign.plugins.formats.hh_rlhf import looks_like_transcript
from modalign.plugins.formats.pairs import PAIR_FEEDBACK, pair
from modalign.plugins.formats.text_format import TextFormat


class TrlPreference(TextFormat):
    """`chosen` and `rejected`, text or conversations, and mostly `prompt`.

    Without a `prompt` column, the prompt is what both responses begin with: of conversations the turns they share, of
    text whole words only (see `shared_text`). A text `prompt` beside conversations that repeat it, as some data sets on
    the hub have it, is taken from the conversations; beside bare answers it becomes the user's message.

    Args:
        weight: The column with the weight of a row; every row weighs 1 without it.
    """

    name = "trl_preference"
    wants: ClassVar[str] = "chosen and rejected, text or conversations; prompt, unless both begin with it"

    def __init__(self, weight: str | None = None) -> None:
        self.weight = weight

    def matches(self, columns: Mapping[str, Any]) -> bool:
        sides = [columns.get(side) for side in (CHOSEN, REJECTED)]
        transcripts = "prompt" not in columns and all(map(looks_like_transcript, sides))
        return all(map(looks_like_content, sides)) and not transcripts

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        prompt = content(row, "prompt") if "prompt" in row else None
        return [pair(row, *with_prompt(prompt, content(row, CHOSEN), content(row, REJECTED)), self.weight)]


def with_prompt(prompt: Content | None, chosen: Content, rejected: Content) -> tuple[Content, Content, Content]:
    """The prompt, and the two responses without it.

    Args:
        prompt: What stands in a column of its own; None where there is none.
        chosen: The better response, which may begin with the prompt.
        rejected: The other.

    Raises:
        RowError: One response is text and the other a conversation, or conversations share no prompt.
    """
    if isinstance(chosen, str) and isinstance(rejected, str):
        if prompt is not None:
            return prompt, chosen, rejected
        end = shared_text(chosen, rejected)
        return chosen[:end], chosen[end:], rejected[end:]
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise RowError("mixed forms: one of chosen and rejected is text", "Write both in one form.", REJECTED)
    if isinstance(prompt, list):
        return prompt, chosen, rejected
    end = shared_turns(chosen, rejected)
    turns = chosen[:end] if prompt is None else _with_question(prompt, chosen[:end])
    if not turns:
        raise RowError(
            "no prompt: the conversations share no leading turn",
            "Begin both with the same messages, or put these into a column `prompt`.",
            CHOSEN,
        )
    return turns, chosen[end:], rejected[end:]


def shared_text(first: str, second: str) -> int:
    """How many characters of two texts are their prompt: the longest common beginning that ends between words.

    A word is what stands between blanks; "I am" and "It is" share no word, though they share a letter. As in TRL, one
    blank before the responses belongs to them, since tokenizers join it to the next word; a line break stays with the
    prompt. Neither response is left empty. Where no word is shared, the prompt is empty, as in TRL: in a difference of
    log-probabilities, what both responses share cancels.
    """
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))))
    for end in range(same, 0, -1):
        if _between_words(first, end) and _between_words(second, end):
            end -= first[end - 1] == " "
            if first[end:].strip() and second[end:].strip():
                return end
    return 0


def shared_turns(first: Sequence[Message], second: Sequence[Message]) -> int:
    """How many leading messages two conversations share, leaving at least one to each."""
    pairs = zip(first[:-1], second[:-1], strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _between_words(text: str, position: int) -> bool:
    return position == len(text) or text[position].isspace() or text[position - 1].isspace()


def _with_question(asked: str, turns: list[Message]) -> list[Message]:
    if not turns:
        return [{"role": "user", "content": asked}]
    if asked.strip() not in [str(turn["content"]).strip() for turn in turns]:
        raise RowError(
            "the prompt is not that of the conversations: none of the turns they share says it",
            "Remove the column `prompt`, or make it agree with the conversations.",
            "prompt",
        )
    return turns
