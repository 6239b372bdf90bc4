"""Cells that compare media: a pair's responses under another image or sound, and the answer to that one under both."""

from collections.abc import Callable, Sequence
from typing import Any

from modalign.core.batch import CHOSEN, OTHER_CHOSEN, REJECTED, Candidate, Comparison, under
from modalign.core.errors import RowError
from modalign.modalities.vision_language.prompts import NOUNS, media_of, with_media

Choose = Callable[[Comparison, Sequence[Any], Comparison | None], Sequence[Any]]
"""From a comparison, the media of a prompt and another row to the media that take their places, as many."""

OTHER_RESPONSE = "other_response"
"""The entry of `Comparison.extra` with the answer that is right for the other medium."""


def elsewhere(context: str) -> dict[str, str]:
    """The roles of the cells under another context, such as `other_image`, and whose response each has."""
    return {under(role, context): role for role in (CHOSEN, REJECTED, OTHER_CHOSEN)}


def roles(context: str) -> frozenset[str]:
    """Every role that `media_cell` makes."""
    return frozenset({*elsewhere(context), OTHER_CHOSEN})


def media_cell(
    comparison: Comparison, role: str, kind: str, context: str, choose: Choose, other: Comparison | None
) -> Candidate:
    """The cell of one of `roles`.

    Args:
        comparison: As its format parsed it.
        role: What cell.
        kind: Of the prompt's media.
        context: What the context with other media is called.
        choose: Says which media are the other ones.
        other: Another row, where `choose` needs one.

    Raises:
        RowError: The prompt has no medium, or there is no other one, or the row lacks the response.
    """
    theirs = elsewhere(context)
    response, prompt = _answered(comparison, theirs.get(role, role), NOUNS[kind])
    if role not in theirs:
        return Candidate(response, role)
    media = media_of(prompt, kind)
    if not media:
        raise RowError(
            f"the prompt has no {NOUNS[kind]}: the objective compares its {NOUNS[kind]} with another one",
            "Leave such rows out by on_bad_row: skip.",
            "prompt",
        )
    found = choose(comparison, media, other)
    if len(found) != len(media):
        raise RowError(
            f"there are {len(found)} other {NOUNS[kind]}s for the {len(media)} of the prompt",
            f"Give one other {NOUNS[kind]} for each {NOUNS[kind]} of the prompt.",
        )
    return Candidate(response, role, context=with_media(prompt, found, kind))


def _answered(comparison: Comparison, role: str, noun: str) -> tuple[Any, Any]:
    """The response of a role, and the prompt it is judged under."""
    if role == OTHER_CHOSEN:
        if comparison.extra.get(OTHER_RESPONSE) is None:
            raise RowError(
                f"no value: the objective compares the answers to two {noun}s",
                f"Fill the column {OTHER_RESPONSE} in, or use an objective that compares {noun}s alone, such as mdpo.",
                OTHER_RESPONSE,
            )
        return comparison.extra[OTHER_RESPONSE], comparison.prompt
    if role not in comparison.roles:
        raise RowError(f"the row has no {role} response", "Use data of pairs.", role)
    candidate = comparison.candidate(role)
    return candidate.response, comparison.prompt if candidate.context is None else candidate.context
