"""What the formats of pairs share."""

from collections.abc import Mapping
from typing import Any

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import chat, values
from modalign.plugins.formats.chat import Content

PAIR_FEEDBACK = frozenset({Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION})
"""A pair also says that one response is good and the other bad, and which of them to imitate."""


def pair(
    row: Mapping[str, Any],
    prompt: Content,
    chosen: Content,
    rejected: Content,
    weight: str | None,
    columns: tuple[str, str] = (CHOSEN, REJECTED),
    scores: tuple[float | None, float | None] = (None, None),
) -> Comparison:
    """A comparison of two responses.

    Args:
        row: Where `tools`, `chat_template_kwargs` and the weight are.
        prompt: What both answer.
        chosen: The better response.
        rejected: The other.
        weight: The column with the weight.
        columns: The columns of the responses, for messages.
        scores: Their ratings, where there are any.

    Raises:
        RowError: A response is empty or of another form than the prompt, or both are identical.
    """
    for answer, column in zip((chosen, rejected), columns, strict=True):
        chat.same_form(prompt, answer, column)
        chat.response(answer, column)
    if chat.same_content(chosen, rejected):
        raise RowError("identical responses: they say nothing of what is preferred", "Remove the row.", columns[1])
    candidates = (Candidate(chosen, CHOSEN, scores[0]), Candidate(rejected, REJECTED, scores[1]))
    return Comparison(prompt, candidates, weight=values.weight(row, weight), extra=values.extra(row))
