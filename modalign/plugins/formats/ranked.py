"""Several responses to a prompt with scores, kept as a list or split into pairs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, Literal, get_args

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import ConfigError, RowError, did_you_mean
from modalign.core.format import Format
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import Content, same_content
from modalign.plugins.formats.pairs import PAIR_FEEDBACK, pair
from modalign.plugins.formats.scored import LISTS, Scored, first_of, looks_scored, read_scored

Pairs = Literal["none", "best_worst", "all", "best_vs_rest"]
Ties = Literal["skip", "error"]

_TIE = "tie"
_IDENTICAL = "identical responses"
_NARROW = "scores closer than min_gap"


class Ranked(Format):
    """`prompt` (or `instruction`) with a list `completions` (or `responses`) and a list `scores` (or `ratings`).

    As in UltraFeedback, the list may hold mappings with a `response` and a `score`, `rating` or `overall_score` each.

    Args:
        pairs: What to make of a list. `none`: one comparison of all its responses, for listwise objectives.
            `best_worst`: the best and the worst; of several best ones the first, of several worst ones the last.
            `best_vs_rest`: the best with each other one. `all`: every two.
        ties: Responses with equal scores make no pair: `skip` leaves it out, counted; `error` refuses the row. With
            `pairs: none`, `skip` leaves out lists of equal scores only, and `error` refuses any two equal ones.
        min_gap: Scores must differ by at least this much to make a pair; others are left out, counted.
        score: What the scores are called, where it is none of the above.
        weight: The column with the weight of a row; every row weighs 1 without it.

    Raises:
        ConfigError: An option is out of range or has no effect.
    """

    name = "ranked"
    wants: ClassVar[str] = (
        "prompt (or instruction); completions (or responses), a list; scores (or ratings), a list of numbers, unless "
        "the completions are mappings with a response and a score"
    )

    def __init__(
        self,
        pairs: Pairs = "best_worst",
        ties: Ties = "skip",
        min_gap: float = 0.0,
        score: str | None = None,
        weight: str | None = None,
    ) -> None:
        for option, value, known in (("pairs", pairs, get_args(Pairs)), ("ties", ties, get_args(Ties))):
            if value not in known:
                raise ConfigError(f"The format's {option} is {value!r}.", did_you_mean(str(value), known))
        if not 0 <= min_gap < float("inf"):
            raise ConfigError(f"The format's min_gap is {min_gap}.", "Give a finite number of at least 0.")
        if min_gap and pairs == "none":
            raise ConfigError("The format's min_gap has no effect with pairs: none.", "Remove one of them.")
        self.pairs, self.ties, self.min_gap, self.score, self.weight = pairs, ties, min_gap, score, weight

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return looks_scored(columns, self.score)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.LISTWISE}) if self.pairs == "none" else PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        prompt, scored = read_scored(row, self.score)
        column = first_of(row, LISTS)
        usable, unusable = self._sort_out(scored)
        if unusable[_TIE] and self.ties == "error":
            raise RowError(
                "tie: responses that are compared have equal scores",
                "Remove the row, or leave ties out, counted, with the format's ties: skip.",
                column,
            )
        if not usable and unusable[_IDENTICAL]:
            raise RowError("identical responses: they say nothing of what is preferred", "Remove the row.", column)
        if self.pairs == "none":
            return [self._list(row, prompt, scored)] if usable else []
        return [self._pair(row, prompt, better, worse) for better, worse in usable]

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        usable, unusable = self._sort_out(read_scored(row, self.score)[1])
        if self.pairs == "none":
            return {} if usable else {_TIE: 1}
        return +unusable

    def _sort_out(self, scored: Sequence[Scored]) -> tuple[list[tuple[Scored, Scored]], Counter[str]]:
        """The pairs that say which response is better, and how many of the others there are, by reason."""
        usable, unusable = [], Counter[str]()
        for better, worse in self._compared(scored):
            if same_content(better.response, worse.response):
                unusable[_IDENTICAL] += 1
            elif better.score == worse.score:
                unusable[_TIE] += 1
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

    def _pair(self, row: Mapping[str, Any], prompt: Content, better: Scored, worse: Scored) -> Comparison:
        columns, scores = (better.column, worse.column), (better.score, worse.score)
        return pair(row, prompt, better.response, worse.response, self.weight, columns, scores)

    def _list(self, row: Mapping[str, Any], prompt: Content, scored: Sequence[Scored]) -> Comparison:
        candidates = tuple(Candidate(each.response, score=each.score) for each in scored)
        return Comparison(prompt, candidates, weight=values.weight(row, self.weight), extra=values.extra(row))
