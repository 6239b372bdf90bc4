"""A pair's responses under another prompt, which the data brings along."""

from modalign.core.batch import CHOSEN, OTHER_PROMPT, REJECTED, Candidate, Comparison, under
from modalign.core.errors import RowError

ANSWERS = {under(role, OTHER_PROMPT): role for role in (CHOSEN, REJECTED)}
"""The roles of these cells, and whose response each has."""


def under_other_prompt(comparison: Comparison, role: str) -> Candidate:
    """The cell of one of `ANSWERS`: a response under `comparison.extra["other_prompt"]`.

    Raises:
        RowError: The row has no other prompt, or not the response.
    """
    prompt = comparison.extra.get(OTHER_PROMPT)
    if not prompt:
        raise RowError(
            "no value: the objective compares the response with itself under another prompt",
            f"Fill the column {OTHER_PROMPT} in, or use an objective without other contexts, such as dpo.",
            OTHER_PROMPT,
        )
    if ANSWERS[role] not in comparison.roles:
        raise RowError(f"the row has no {ANSWERS[role]} response", "Use data of pairs.", ANSWERS[role])
    return Candidate(comparison.candidate(ANSWERS[role]).response, role, context=prompt)
