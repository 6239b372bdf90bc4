"""Cells that an objective wants beside the data's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modalign.core.batch import MISMATCHED, Candidate, Comparison
from modalign.core.content import short_hash
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


def needs_other_row(roles: Sequence[str], modality: Modality) -> bool:
    """Whether cells of these roles are made with another row of the data at hand."""
    return MISMATCHED in roles or modality.needs_other_row(roles)


def other_key(comparison: Comparison, modality: Modality) -> int | None:
    """A number in which a row and its other row differ; None where the row cannot be another's.

    Equal keys stand for equal content in practice: 60 bits of a hash.
    """
    distinct = modality.other_key(comparison)
    return None if distinct is None else short_hash(distinct)


def add_cells(
    comparison: Comparison, roles: Sequence[str], modality: Modality, other: Comparison | None = None
) -> Comparison:
    """The comparison with a cell of each role.

    Args:
        comparison: As its format parsed it.
        roles: Checked by `check_extra_roles`.
        modality: Makes the cells of its own roles.
        other: Another row, where `needs_other_row`: a mismatched cell has its first response.

    Raises:
        RowError: The modality cannot make a cell for this comparison.
    """
    cells = tuple(_cell(comparison, role, modality, other) for role in roles)
    return replace(comparison, candidates=comparison.candidates + cells)


def _cell(comparison: Comparison, role: str, modality: Modality, other: Comparison | None) -> Candidate:
    if role == MISMATCHED and other is not None:
        return Candidate(other.candidates[0].response, MISMATCHED)
    return modality.extra_candidate(comparison, role, other)


@dataclass(frozen=True)
class OtherRow:
    """A comparison in use.

    Attributes:
        key: See `other_key`.
        place: Where it is.
        comparison: As its format parsed it.
    """

    key: int | None
    place: Place
    comparison: Comparison


class LatestOther:
    """The latest row with another key, for any key; holds two rows at most."""

    def __init__(self) -> None:
        self._latest: OtherRow | None = None
        self._other: OtherRow | None = None

    def add(self, row: OtherRow) -> None:
        """Take in a row; one without a key is nobody's other row."""
        if row.key is None:
            return
        if self._latest is not None and self._latest.key != row.key:
            self._other = self._latest
        self._latest = row

    def find(self, key: int | None) -> OtherRow | None:
        """None where no other key has come yet."""
        if self._latest is not None and self._latest.key != key:
            return self._latest
        return self._other

    @property
    def complete(self) -> bool:
        """Whether `find` knows a row for every key."""
        return self._other is not None
