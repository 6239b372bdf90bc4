"""Several responses to a prompt with scores, kept as a list or split into pairs."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Candidate, Comparison
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import Content, same_content
from modalign.plugins.formats.pairs import PAIR_FEEDBACK, pair
from modalign.plugins.formats.scored import LISTS, first_of, looks_scored, read_scored
from modalign.plugins.formats.splitting import Pairs, Scored, Splitting, Ties
from modalign.plugins.formats.text_format import TextFormat


class Ranked(TextFormat):
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
        self.splitting = Splitting(pairs, ties, min_gap, same_content)
        self.score, self.weight = score, weight

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return looks_scored(columns, self.score)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.LISTWISE}) if self.splitting.pairs == "none" else PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        prompt, scored = read_scored(row, self.score)
        usable = self.splitting.usable(scored, first_of(row, LISTS))
        if self.splitting.pairs == "none":
            return [self._list(row, prompt, scored)] if usable else []
        return [self._pair(row, prompt, better, worse) for better, worse in usable]

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        return self.splitting.left_out(read_scored(row, self.score)[1])

    def _pair(self, row: Mapping[str, Any], prompt: Content, better: Scored, worse: Scored) -> Comparison:
        columns, scores = (better.column, worse.column), (better.score, worse.score)
        return pair(row, prompt, better.response, worse.response, self.weight, columns, scores)

    def _list(self, row: Mapping[str, Any], prompt: Content, scored: Sequence[Scored]) -> Comparison:
        candidates = tuple(Candidate(each.response, score=each.score) for each in scored)
        return Comparison(prompt, candidates, weight=values.weight(row, self.weight), extra=values.extra(row))
