"""What to make of several responses with scores: one list, or pairs that say which response is better."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

from modalign.core.errors import ConfigError, RowError, did_you_mean

Pairs = Literal["none", "best_worst", "all", "best_vs_rest"]
Ties = Literal["skip", "error"]

TIE = "tie"
_NARROW = "scores closer than min_gap"


@dataclass(frozen=True)
class Scored:
    """A response.

    Attributes:
        response: In its modality's terms.
        score: Larger is better.
        column: Where in the row it is.
    """

    response: Any
    score: float
    column: str


@dataclass(frozen=True)
class Splitting:
    """How a scored list becomes comparisons.

    Attributes:
        pairs: `none`: one comparison of all responses, for listwise objectives. `best_worst`: the best and the worst;
            of several best ones the first, of several worst ones the last. `best_vs_rest`: the best with each other
            one. `all`: every two.
        ties: Responses with equal scores make no pair: `skip` leaves it out, counted; `error` refuses the row. With
            `pairs: none`, `skip` leaves out lists of equal scores only, and `error` refuses any two equal ones.
        min_gap: Scores must differ by at least this much to make a pair; others are left out, counted.
        same: Whether two responses are identical, which makes no pair either.
        identical: What that is called in messages.

    Raises:
        ConfigError: An option is out of range or has no effect.
    """

    pairs: Pairs
    ties: Ties
    min_gap: float
    same: Callable[[Any, Any], bool]
    identical: str = "identical responses"

    def __post_init__(self) -> None:
        for option, value, known in (("pairs", self.pairs, get_args(Pairs)), ("ties", self.ties, get_args(Ties))):
            if value not in known:
                raise ConfigError(f"The format's {option} is {value!r}.", did_you_mean(str(value), known))
        if not 0 <= self.min_gap < float("inf"):
            raise ConfigError(f"The format's min_gap is {self.min_gap}.", "Give a finite number of at least 0.")
        if self.min_gap and self.pairs == "none":
            raise ConfigError("The format's min_gap has no effect with pairs: none.", "Remove one of them.")

    def usable(self, scored: Sequence[Scored], column: str) -> list[tuple[Scored, Scored]]:
        """The pairs that say which response is better, that one first; of a list kept whole, any if it says anything.

        Args:
            scored: Two at least.
            column: Of the list, for messages.

        Raises:
            RowError: The list has ties and these are refused, or all that it compares are identical.
        """
        usable, unusable = self._sort_out(scored)
        if unusable[TIE] and self.ties == "error":
            raise RowError(
                "tie: responses that are compared have equal scores",
                "Remove the row, or leave ties out, counted, with the format's ties: skip.",
                column,
            )
        if not usable and unusable[self.identical]:
            raise RowError(f"{self.identical}: they say nothing of what is preferred", "Remove the row.", column)
        return usable

    def left_out(self, scored: Sequence[Scored]) -> Counter[str]:
        """How many comparisons of a row are not used, by reason."""
        usable, unusable = self._sort_out(scored)
        if self.pairs == "none":
            return Counter() if usable else Counter({TIE: 1})
        return +unusable

    def _sort_out(self, scored: Sequence[Scored]) -> tuple[list[tuple[Scored, Scored]], Counter[str]]:
        """The pairs that say which response is better, and how many of the others there are, by reason."""
        usable, unusable = [], Counter[str]()
        for better, worse in self._compared(scored):
            if self.same(better.response, worse.response):
                unusable[self.identical] += 1
            elif better.score == worse.score:
                unusable[TIE] += 1
            elif better.score - worse.score < self.min_gap:
                unusable[_NARROW] += 1
            else:
                usable.append((better, worse))
        return usable, unusable

    def _compared(self, scored: Sequence[Scored]) -> list[tuple[Scored, Scored]]:
        """The pairs that `pairs` asks for, the one with the larger score first."""
        ranking = sorted(scored, key=lambda each: -each.score)
        if self.pairs == "best_worst":
            return [(ranking[0], ranking[-1])]
        if self.pairs == "best_vs_rest":
            return [(ranking[0], other) for other in ranking[1:]]
        return list(combinations(ranking, 2))
