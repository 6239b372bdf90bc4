"""What the formats of several images or sounds for a prompt share: scores or ranks, lists or pairs of them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats import values
from modalign.plugins.formats.media.base import MediaFormat, identical
from modalign.plugins.formats.media.kind import same_media
from modalign.plugins.formats.pairs import PAIR_FEEDBACK
from modalign.plugins.formats.splitting import Pairs, Scored, Splitting, Ties


class MediaLists(MediaFormat):
    """A format whose rows hold several responses to a prompt and say how good each is.

    Args:
        pairs: What to make of a list; see `Splitting`.
        ties: What to do with equal scores; see `Splitting`.
        min_gap: By how much the scores of a pair must differ.
        root: The folder that relative paths start from; the folder of the data file where None.
        weight: The column with the weight of a row; every row weighs 1 without it.
        named: For each thing the format reads, the column that an option names for it; None where none does.
    """

    def __init__(
        self,
        pairs: Pairs,
        ties: Ties,
        min_gap: float,
        root: str | None,
        weight: str | None,
        **named: str | None,
    ) -> None:
        super().__init__(root, weight, **named)
        self.splitting = Splitting(pairs, ties, min_gap, same_media, identical(self.kind))

    @abstractmethod
    def scored(self, row: Mapping[str, Any]) -> list[Scored]:
        """The row's responses, two at least, with scores.

        Raises:
            RowError: Something is missing, of a wrong type, or lists differ in length.
        """

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.LISTWISE}) if self.splitting.pairs == "none" else PAIR_FEEDBACK

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        scored = self.scored(row)
        usable = self.splitting.usable(scored, scored[0].column.partition("[")[0])
        if self.splitting.pairs == "none":
            candidates = tuple(Candidate(each.response, score=each.score) for each in scored)
            listed = Comparison(self.prompt(row), candidates, weight=values.weight(row, self.weight))
            return [listed] if usable else []
        return [
            self.pair(row, better.response, worse.response, (better.column, worse.column), (better.score, worse.score))
            for better, worse in usable
        ]

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        return self.splitting.left_out(self.scored(row))

    def several(self, row: Mapping[str, Any], column: str) -> list[Media]:
        """The responses in a column, two at least.

        Raises:
            RowError: They are missing, no list, or one of them is of another kind.
        """
        found, name = values.items(values.required(row, column), column), self.kind.name
        if len(found) < 2:
            cure = f"Add {name}s, or remove the row."
            raise RowError(f"only one {name}: there is nothing to compare", cure, column)
        return [self.kind.read(value, f"{column}[{number}]", self.root) for number, value in enumerate(found)]

    def numbers(self, row: Mapping[str, Any], column: str, responses: Sequence[Media]) -> list[float]:
        """One number for each response.

        Raises:
            RowError: They are missing, no list of finite numbers, or not as many as the responses.
        """
        found = values.items(values.required(row, column), column)
        if len(found) != len(responses):
            raise RowError(
                f"lists of different lengths: {len(responses)} {self.kind.name}s and {len(found)} {column}",
                "Give every one a number, or remove the row.",
                column,
            )
        return [values.number(row, value, f"{column}[{number}]") for number, value in enumerate(found)]


def with_scores(responses: Sequence[Media], scores: Sequence[float], column: str) -> list[Scored]:
    """Responses with their scores.

    Args:
        responses: K of them.
        scores: K.
        column: Where the responses are, for messages.
    """
    pairs = zip(responses, scores, strict=True)
    return [Scored(response, score, f"{column}[{number}]") for number, (response, score) in enumerate(pairs)]


def borda_shares(judges: Sequence[Sequence[float]]) -> list[float]:
    """How many of its comparisons each response wins, over all judges, as a share: psi of RankDPO (arXiv 2410.18013).

    `psi_i = C_i / (n (k - 1))`, with `C_i` the number of judges and other responses that judge i's response higher, of
    n judges and k responses. It needs no common scale of the judges. One that ties wins nothing by it.

    Args:
        judges: n judges' scores of the same k responses, larger is better.
    """
    k = len(judges[0])
    wins = [sum(scores[i] > other for scores in judges for other in scores) for i in range(k)]
    return [won / (len(judges) * (k - 1)) for won in wins]


def from_ranks(ranks: Sequence[float]) -> list[float]:
    """Scores in [0, 1] for ranks, of which the smallest is the best: the share of the others it is ahead of."""
    return borda_shares([[-rank for rank in ranks]])
