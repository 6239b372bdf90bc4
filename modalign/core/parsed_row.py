"""Rows between parsing and use: their comparisons are encoded ahead, and counted in their turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modalign.core.batch import Comparison, Example
from modalign.core.extra_cells import Answered


class PendingExample:
    """An example that is made when the comparisons before it are parsed, and not yet known to be usable.

    Attributes:
        comparison: Without extra cells.
        prompt: The key of its prompt.

    Args:
        expected: Where its mismatched cell is from, if all comparisons before it are usable.
        encode: Makes the example of a comparison and of where its mismatched cell is from.
    """

    def __init__(
        self,
        comparison: Comparison,
        prompt: int,
        expected: Answered | None,
        encode: Callable[[Comparison, Answered | None], Example],
    ) -> None:
        self.comparison, self.prompt = comparison, prompt
        self._expected, self._encode = expected, encode
        self._result: Example | Exception | None = None

    def run(self) -> None:
        """Encode with the mismatched cell that is expected."""
        try:
            self._result = self._encode(self.comparison, self._expected)
        except Exception as error:  # raised in its turn
            self._result = error

    def with_mismatched(self, mismatched: Answered | None) -> Example:
        """The example with the mismatched cell that it gets in fact, or the error that this is.

        Raises:
            RowError: It cannot be used.
        """
        if (mismatched and mismatched.place) != (self._expected and self._expected.place):
            return self._encode(self.comparison, mismatched)
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
