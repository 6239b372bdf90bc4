"""The contract of a data format: from a row of some schema to comparisons."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.objectives.base import Feedback


class Format(ABC):
    """Recognises a schema by its columns and parses its rows.

    Attributes:
        name: The short name it is registered under.
        wants: The columns it reads, in a few words; told where no format fits.
    """

    name: ClassVar[str]
    wants: ClassVar[str] = ""

    @abstractmethod
    def matches(self, columns: Mapping[str, Any]) -> bool:
        """Whether rows with these columns are of this format.

        Args:
            columns: Column names with the first row's values, since schemas often share names and differ in types.
        """

    @abstractmethod
    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        """The comparisons in one row: mostly one, several where a ranked list is split into pairs.

        Raises:
            RowError: The row is empty, of a wrong type, or says nothing (a tie, identical candidates); it names the
                column and the cure.
        """

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        """How many comparisons `parse` leaves out of a row that it does not refuse, by reason.

        An option that skips ties is such a reason. Where `parse` returns no comparison, the row is skipped for it.
        """
        return {}

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        """What rows of this format say; an objective that wants something else is refused before training.

        By default what pairs say: one is better, which also is a response to imitate, a good one and a bad one.
        """
        return frozenset({Feedback.PAIRWISE, Feedback.DEMONSTRATION, Feedback.POINTWISE})

    def resolve(self, columns: Mapping[str, Any], source: str) -> "Format":
        """The format to parse with, once the columns are known; `auto` chooses another here.

        Raises:
            UserError: The columns do not fit.
        """
        return self
