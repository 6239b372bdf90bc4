"""Pairs of transcripts between a Human and an Assistant, as in Anthropic's HH-RLHF (arXiv 2204.05862)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats.chat import Message
from modalign.plugins.formats.pairs import PAIR_FEEDBACK, pair
from modalign.plugins.formats.text_format import TextFormat
from modalign.plugins.formats.values import required, text

_HEADER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class Turn:
    """One turn of a transcript.

    Attributes:
        speaker: `Human` or `Assistant`.
        header: What announces the turn, with the line breaks before it.
        words: What follows, up to the next turn.
    """

    speaker: str
    header: str
    words: str

    @property
    def message(self) -> Message:
        return {"role": _ROLES[self.speaker], "content": self.words.strip()}


class HhRlhf(TextFormat):
    r"""`chosen` and `rejected` transcripts: "\n\nHuman: ...\n\nAssistant: ...".

    The prompt is the turns that both share, up to and including the last "\n\nAssistant:" before they differ; the
    responses are what follows. A few transcripts have two turns of the Assistant in a row, which are kept as they are.

    Args:
        conversational: Whether to make messages of the turns, for models with a chat template, in place of text.
        weight: The column with the weight of a row; every row weighs 1 without it.
    """

    name = "hh_rlhf"
    wants: ClassVar[str] = 'chosen and rejected, transcripts that begin with "Human:"; no prompt'

    def __init__(self, conversational: bool = False, weight: str | None = None) -> None:
        self.conversational = conversational
        self.weight = weight

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return "prompt" not in columns and all(looks_like_transcript(columns.get(side)) for side in (CHOSEN, REJECTED))

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        chosen, rejected = _turns(row, CHOSEN), _turns(row, REJECTED)
        shared = _shared(chosen, rejected)
        prompt = chosen[:shared]
        if "Human" not in [turn.speaker for turn in prompt]:
            raise RowError(
                "no prompt: the transcripts share no turn of the Human before an answer",
                "Begin both with the same turns, or remove the row.",
                CHOSEN,
            )
        answers = [_answer(turns[shared:], side) for turns, side in ((chosen, CHOSEN), (rejected, REJECTED))]
        if self.conversational:
            chats = [[turn.message for turn in answer] for answer in answers]
            return [pair(row, [turn.message for turn in prompt], chats[0], chats[1], self.weight)]
        texts = [_joined(answer).removeprefix(answer[0].header) for answer in answers]
        return [pair(row, _joined(prompt) + chosen[shared].header, texts[0], texts[1], self.weight)]


def looks_like_transcript(value: Any) -> bool:
    """Whether a value is text that begins with the Human's turn and has a turn of the Assistant."""
    return isinstance(value, str) and re.match(r"\s*Human:", value) is not None and "\n\nAssistant:" in value


def _turns(row: Mapping[str, Any], column: str) -> list[Turn]:
    transcript = text(required(row, column), column)
    headers = list(_HEADER.finditer(transcript))
    if not headers or headers[0].start() > 0:
        raise RowError(
            'no transcript: it does not begin with "Human:"',
            r'Write "\n\nHuman: ...\n\nAssistant: ...", or choose another format.',
            column,
        )
    ends = [header.start() for header in headers[1:]] + [len(transcript)]
    return [
        Turn(header[1], header[0], transcript[header.end() : end]) for header, end in zip(headers, ends, strict=True)
    ]


def _shared(chosen: list[Turn], rejected: list[Turn]) -> int:
    """How many leading turns are the prompt: those that both share and that the Assistant answers in both."""
    shared = 0
    for number, (ours, theirs) in enumerate(zip(chosen, rejected, strict=False)):
        if ours.speaker == theirs.speaker == "Assistant":
            shared = number
        if ours != theirs:
            break
    return shared


def _answer(turns: list[Turn], column: str) -> list[Turn]:
    if any(turn.speaker == "Human" for turn in turns):
        raise RowError(
            "the response holds a turn of the Human, which would be learned as the model's own",
            "Pairs must share everything up to the last answer; cut or remove the row.",
            column,
        )
    return turns


def _joined(turns: Sequence[Turn]) -> str:
    return "".join(turn.header + turn.words for turn in turns)
