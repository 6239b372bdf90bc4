"""Rows between parsing and use: their comparisons are encoded ahead, and counted in their turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modalign.core.batch import Comparison, Example
from modalign.core.extra_cells import OtherRow


class PendingExample:
    """An example that is made when the comparisons before it are parsed, and not yet known to be usable.

    Attributes:
        comparison: Without extra cells.
        prompt: The key of its prompt.
        key: What its other row differs in; None where no other row is wanted, or it cannot be another's.

    Args:
        expected: Its other row, if all comparisons before it are usable; None where none is wanted.
        encode: Makes the example of a comparison and of its other row.
    """

    def __init__(
        self,
        comparison: Comparison,
        prompt: int,
        key: int | None,
        expected: OtherRow | None,
        encode: Callable[[Comparison, OtherRow | None], Example],
    ) -> None:
        self.comparison, self.prompt, self.key = comparison, prompt, key
        self._expected, self._encode = expected, encode
        self._result: Example | Exception | None = None

    def run(self) -> None:
        """Encode with the other row that is expected."""
        try:
            self._result = self._encode(self.comparison, self._expected)
        except Exception as error:  # raised in its turn
            self._result = error

    def with_other(self, other: OtherRow | None) -> Example:
        """The example with the other row that it gets in fact, or the error that this is.

        Raises:
            RowError: It cannot be used.
        """
        if (other and other.place) != (self._expected and self._expected.place):
            return self._encode(self.comparison, other)
        assert self._result is not None
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


@dataclass
class ParsedRow:
    """A row as it was parsed.

    Attributes:
        comparisons: Those in it.
        by_option: How many of them the format's options leave out, by reason.
        error: Why it could not be read or parsed.
    """

    comparisons: list[PendingExample] = field(default_factory=list)
    by_option: Mapping[str, int] = field(default_factory=dict)
    error: Exception | None = None

    def encode(self) -> "ParsedRow":
        """Encode its comparisons."""
        for comparison in self.comparisons:
            comparison.run()
        return self
