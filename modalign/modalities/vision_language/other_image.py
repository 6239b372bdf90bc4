"""Cells that compare images: a pair's responses under another image, and the answer to that image under both."""

from collections.abc import Sequence
from typing import Any

from modalign.core.batch import CHOSEN, OTHER_CHOSEN, OTHER_IMAGE, REJECTED, Candidate, Comparison, under
from modalign.core.errors import RowError
from modalign.modalities.vision_language.prompts import images_of, with_images
from modalign.modalities.vision_language.variants.base import ImageVariant

ELSEWHERE = {under(role, OTHER_IMAGE): role for role in (CHOSEN, REJECTED, OTHER_CHOSEN)}
"""The roles of the cells under another image, and whose response each has."""

ROLES = frozenset({*ELSEWHERE, OTHER_CHOSEN})
"""Every role that `image_cell` makes."""

OTHER_RESPONSE = "other_response"
"""The entry of `Comparison.extra` with the answer that is right for the other image."""


def image_cell(comparison: Comparison, role: str, variant: ImageVariant, other: Comparison | None) -> Candidate:
    """The cell of one of `ROLES`.

    Args:
        comparison: As its format parsed it.
        role: What cell.
        variant: Says which image is the other one.
        other: Another row, where the variant needs one.

    Raises:
        RowError: The prompt has no image, or there is no other one, or the row lacks the response.
    """
    response, prompt = _answered(comparison, ELSEWHERE.get(role, role))
    if role not in ELSEWHERE:
        return Candidate(response, role)
    images = images_of(prompt)
    if not images:
        raise RowError(
            "the prompt has no image: the objective compares its image with another one",
            "Leave such rows out by on_bad_row: skip.",
            "prompt",
        )
    return Candidate(response, role, context=with_images(prompt, _others(comparison, images, variant, other)))


def _others(
    comparison: Comparison, images: Sequence[Any], variant: ImageVariant, other: Comparison | None
) -> Sequence[Any]:
    found = variant.images(comparison, images, other)
    if len(found) != len(images):
        raise RowError(
            f"there are {len(found)} other images for the {len(images)} of the prompt",
            "Give one other image for each image of the prompt.",
        )
    return found


def _answered(comparison: Comparison, role: str) -> tuple[Any, Any]:
    """The response of a role, and the prompt it is judged under."""
    if role == OTHER_CHOSEN:
        if comparison.extra.get(OTHER_RESPONSE) is None:
            raise RowError(
                "no value: the objective compares the answers to two images",
                f"Fill the column {OTHER_RESPONSE} in, or use an objective that compares images alone, such as mdpo.",
                OTHER_RESPONSE,
            )
        return comparison.extra[OTHER_RESPONSE], comparison.prompt
    if role not in comparison.roles:
        raise RowError(f"the row has no {role} response", "Use data of pairs.", role)
    candidate = comparison.candidate(role)
    return candidate.response, comparison.prompt if candidate.context is None else candidate.context
