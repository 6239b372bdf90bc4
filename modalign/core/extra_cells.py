"""Cells that an objective wants beside the data's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from modalign.core.batch import MISMATCHED, Candidate, Comparison
from modalign.core.errors import ConfigError, did_you_mean
from modalign.core.modality import Modality

Place = tuple[int, int, int]
"""Source, row and part of a row: where a comparison is."""


def check_extra_roles(roles: Sequence[str], modality: Modality) -> None:
    """Refuse roles that neither the data set nor the modality can make.

    Raises:
        ConfigError: Naming them and those that can be made.
    """
    possible = {MISMATCHED, *modality.extra_roles}
    for role in roles:
        if role not in possible:
            raise ConfigError(
                f"The objective wants cells of the role {role!r}, which the modality {modality.name!r} does not make.",
                f"Choose another objective or modality; {did_you_mean(role, possible)}",
            )


def add_cells(comparison: Comparison, roles: Sequence[str], modality: Modality, mismatched: Any = None) -> Comparison:
    """The comparison with a cell of each role.

    Args:
        comparison: As its format parsed it.
        roles: Checked by `check_extra_roles`.
        modality: Makes the cells of its own roles.
        mismatched: The response of a mismatched cell.

    Raises:
        RowError: The modality cannot make a cell for this comparison.
    """
    cells = tuple(
        Candidate(mismatched, MISMATCHED) if role == MISMATCHED else modality.extra_candidate(comparison, role)
        for role in roles
    )
    return replace(comparison, candidates=comparison.candidates + cells)


@dataclass(frozen=True)
class Answered:
    """A response in use.

    Attributes:
        prompt: The key of its prompt.
        place: Where it is.
        response: What it is.
    """

    prompt: int
    place: Place
    response: Any


class LatestOther:
    """The latest response to another prompt, for any prompt, in constant memory."""

    def __init__(self) -> None:
        self._latest: Answered | None = None
        self._other: Answered | None = None

    def add(self, answered: Answered) -> None:
        if self._latest is not None and self._latest.prompt != answered.prompt:
            self._other = self._latest
        self._latest = answered

    def find(self, prompt: int) -> Answered | None:
        """None where no other prompt has come yet."""
        if self._latest is not None and self._latest.prompt != prompt:
            return self._latest
        return self._other

    @property
    def complete(self) -> bool:
        """Whether `find` knows an answer for every prompt."""
        return self._other is not None
