"""The contract of a data format: from a row of some schema to comparisons."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import ConfigError
from modalign.core.modality import Modality
from modalign.core.objectives.base import Feedback


class Format(ABC):
    """Recognises a schema by its columns and parses its rows.

    Attributes:
        name: The short name it is registered under.
        wants: The columns it reads, in a few words; told where no format fits.
        modalities: Names of the modalities whose responses it reads; empty where it reads those of any.
    """

    name: ClassVar[str]
    wants: ClassVar[str] = ""
    modalities: ClassVar[frozenset[str]] = frozenset()

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

    def fits(self, modality: Modality | None) -> bool:
        """Whether the responses it reads are what a modality takes; None stands for any modality."""
        return modality is None or not self.modalities or bool(self.modalities & {modality.name, *modality.reads})

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> "Format":
        """The format to parse with, once the columns are known; `auto` chooses another here.

        Args:
            columns: Column names with the first row's values.
            source: Where they are from, for messages.
            modality: What will encode the comparisons; None where that is not known.

        Raises:
            UserError: The columns do not fit.
            ConfigError: The responses are not of this modality.
        """
        if modality is not None and not self.fits(modality):
            raise ConfigError(
                f"The format {self.name!r} reads responses of {' and '.join(sorted(self.modalities))}, and the "
                f"modality of the run is {modality.name!r}.",
                f"Set data.format: auto, which chooses among the formats of {modality.name}, or name one of those; "
                "`modalign plugins format` lists all.",
            )
        return self
