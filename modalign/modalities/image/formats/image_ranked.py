"""Several images for a prompt with scores, ranks or several judges' scores."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.modalities.image.formats.lists import ImageLists, borda_shares, from_ranks, numbers, with_scores
from modalign.plugins.formats.images import looks_like_images
from modalign.plugins.formats.splitting import Pairs, Scored, Ties

_IMAGES = ("images", "image_paths", "file_names")
_SCORES = ("scores", "ratings")
_RANKS = ("ranks", "rank")


class ImageRanked(ImageLists):
    """`prompt` (or `caption`), a list `images`, and a list `scores` (larger is better) or `ranks` (smaller is better).

    Scores are taken as they are. Ranks, and the scores of several judges, become Borda shares between 0 and 1: how many
    of its comparisons with the other images an image wins (RankDPO and Syn-Pic, arXiv 2410.18013). RankDPO's gains are
    powers of 2 of the score, so give it shares, or scores of about that size.

    Args:
        pairs: What to make of a list. `none`: one comparison of all its images, for listwise objectives. `best_worst`:
            the best and the worst; of several best ones the first, of several worst ones the last. `best_vs_rest`: the
            best with each other one. `all`: every two.
        ties: Images with equal scores make no pair: `skip` leaves it out, counted; `error` refuses the row. With
            `pairs: none`, `skip` leaves out lists of equal scores only, and `error` refuses any two equal ones.
        min_gap: Scores must differ by at least this much to make a pair; others are left out, counted.
        rewards: Columns that each hold one judge's list of scores; their Borda shares are the scores. One is enough.
        prompt: The column with the prompt, where it is called otherwise.
        images: The column with the images, where it is called otherwise.
        scores: The column with the scores, where it is called otherwise.
        ranks: The column with the ranks, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.

    Raises:
        ConfigError: An option is out of range or has no effect.
    """

    name = "image_ranked"
    wants: ClassVar[str] = "prompt (or caption), text; images, a list; scores or ranks, a list of numbers"

    def __init__(
        self,
        pairs: Pairs = "best_worst",
        ties: Ties = "skip",
        min_gap: float = 0.0,
        rewards: list[str] | None = None,
        prompt: str | None = None,
        images: str | None = None,
        scores: str | None = None,
        ranks: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        judged = {"rewards": rewards, "scores": scores, "ranks": ranks}
        given = [option for option, value in judged.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"The format's {' and '.join(given)} are given.", "Name one of them.")
        if rewards is not None and (not rewards or len(set(rewards)) < len(rewards)):
            raise ConfigError(f"The format's rewards are {rewards}.", "Name each judge's column once.")
        super().__init__(pairs, ties, min_gap, root, weight, prompt=prompt, images=images, scores=scores, ranks=ranks)
        self.rewards = tuple(rewards or ())

    def matches(self, columns: Mapping[str, Any]) -> bool:
        shown = columns.get(self.column(columns, "images", _IMAGES))
        judged = self.rewards or (self._judged(columns),)
        lists = all(isinstance(columns.get(name), list) for name in judged)
        return self.has_prompt(columns) and looks_like_images(shown) and lists

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        for column in self.rewards:
            if column not in columns:
                raise UserError(
                    f"{source} has no column {column!r}, which data.format names among its rewards.",
                    did_you_mean(column, map(str, columns)),
                )
        return super().resolve(columns, source, modality)

    def scored(self, row: Mapping[str, Any]) -> list[Scored]:
        column = self.column(row, "images", _IMAGES)
        images = self.images(row, column)
        if self.rewards:
            return with_scores(images, borda_shares([numbers(row, name, images) for name in self.rewards]), column)
        judged = self._judged(row)
        found = numbers(row, judged, images)
        return with_scores(images, from_ranks(found) if self._is_ranks(judged) else found, column)

    def _judged(self, row: Mapping[str, Any]) -> str:
        """The column that says how good each image is: the one that an option names, else scores before ranks."""
        named = self.named.get("scores") or self.named.get("ranks")
        known: Sequence[str] = (*_SCORES, *_RANKS)
        return named or next((name for name in known if name in row), known[0])

    def _is_ranks(self, column: str) -> bool:
        return column == self.named.get("ranks") or (column in _RANKS and column != self.named.get("scores"))
