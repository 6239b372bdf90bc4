"""What the formats of several images for a prompt share: reading them with scores or ranks, lists or pairs of them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.objectives.base import Feedback
from modalign.modalities.image.formats.base import IDENTICAL, ImageFormat
from modalign.plugins.formats import values
from modalign.plugins.formats.images import as_image, same_image
from modalign.plugins.formats.pairs import PAIR_FEEDBACK
from modalign.plugins.formats.splitting import Pairs, Scored, Splitting, Ties


class ImageLists(ImageFormat):
    """A format whose rows hold several images for a prompt and say how good each is.

    Args:
        pairs: What to make of a list; see `Splitting`.
        ties: What to do with equal scores; see `Splitting`.
        min_gap: By how much the scores of a pair must differ.
        root: The folder that relative paths of images start from; the folder of the data file where None.
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
        self.splitting = Splitting(pairs, ties, min_gap, same_image, IDENTICAL)

    @abstractmethod
    def scored(self, row: Mapping[str, Any]) -> list[Scored]:
        """The row's images, two at least, with scores.

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

    def images(self, row: Mapping[str, Any], column: str) -> list[Media]:
        """The images of a column, two at least.

        Raises:
            RowError: They are missing, no list, or one of them is no image.
        """
        found = values.items(values.required(row, column), column)
        if len(found) < 2:
            raise RowError("only one image: there is nothing to compare", "Add images, or remove the row.", column)
        return [as_image(value, f"{column}[{number}]", self.root) for number, value in enumerate(found)]


def numbers(row: Mapping[str, Any], column: str, images: Sequence[Media]) -> list[float]:
    """One number for each image.

    Raises:
        RowError: They are missing, no list of finite numbers, or not as many as the images.
    """
    found = values.items(values.required(row, column), column)
    if len(found) != len(images):
        raise RowError(
            f"lists of different lengths: {len(images)} images and {len(found)} {column}",
            "Give every image one, or remove the row.",
            column,
        )
    return [values.number(row, value, f"{column}[{number}]") for number, value in enumerate(found)]


def with_scores(images: Sequence[Media], scores: Sequence[float], column: str) -> list[Scored]:
    """Images with their scores.

    Args:
        images: K of them.
        scores: K.
        column: Where the images are, for messages.
    """
    pairs = zip(images, scores, strict=True)
    return [Scored(image, score, f"{column}[{number}]") for number, (image, score) in enumerate(pairs)]


def borda_shares(judges: Sequence[Sequence[float]]) -> list[float]:
    """How many of its comparisons each image wins, over all judges, as a share: psi of RankDPO (arXiv 2410.18013).

    `psi_i = C_i / (n (k - 1))`, with `C_i` the number of judges and other images that judge i's image higher, of n
    judges and k images. It needs no common scale of the judges. An image that ties wins nothing by it.

    Args:
        judges: n judges' scores of the same k images, larger is better.
    """
    k = len(judges[0])
    wins = [sum(scores[i] > other for scores in judges for other in scores) for i in range(k)]
    return [won / (len(judges) * (k - 1)) for won in wins]


def from_ranks(ranks: Sequence[float]) -> list[float]:
    """Scores in [0, 1] for ranks, of which the smallest is the best: the share of the other images it is ahead of."""
    return borda_shares([[-rank for rank in ranks]])
