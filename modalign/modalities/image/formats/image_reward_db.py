"""ImageRewardDB (arXiv 2304.05977): several images for a prompt, ranked by annotators, or pairs of them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from modalign.modalities.image.formats.base import ImageFormat
from modalign.plugins.formats.images import looks_like_image, looks_like_images
from modalign.plugins.formats.media.lists import MediaLists, from_ranks, with_scores
from modalign.plugins.formats.scored import first_of
from modalign.plugins.formats.splitting import Pairs, Scored, Ties

_IMAGES = ("image_path", "image", "generations")
_RANKS = ("rank", "ranking")
_BETTER, _WORSE = "img_better", "img_worse"


class ImageRewardDb(MediaLists, ImageFormat):
    """`prompt_id`, `prompt`, a list `image_path` (or `image`, `generations`) and a list `rank` (or `ranking`).

    The smallest rank is the best; ranks become the share of the other images that an image is ahead of. Of a data set
    of pairs, `img_better` and `img_worse`. Rows of single images, whose groups are spread over several rows, are to be
    grouped by `prompt_id` first.

    Args:
        pairs: What to make of a list. `none`: one comparison of all its images, for listwise objectives. `best_worst`:
            the best and the worst. `best_vs_rest`: the best with each other one. `all`: every two.
        ties: Images of equal rank make no pair: `skip` leaves it out, counted; `error` refuses the row. With
            `pairs: none`, `skip` leaves out lists of equals only, and `error` refuses any two equal ones.
        min_gap: The scores of a pair must differ by at least this much; others are left out, counted.
        rating: Rank by this column of ratings (larger is better) in place of the ranks: `overall_rating`,
            `image_text_alignment_rating` or `fidelity_rating`.
        root: The folder that the paths start from; the folder of the data file where None.
        weight: The column with the weight of a row; every row weighs 1 without it.

    Raises:
        ConfigError: An option is out of range or has no effect.
    """

    name = "image_reward_db"
    wants: ClassVar[str] = (
        "prompt_id; prompt, text; image_path (or image, generations) and rank (or ranking), lists; or img_better and "
        "img_worse, images"
    )
    prompts: ClassVar[tuple[str, ...]] = ("prompt",)

    def __init__(
        self,
        pairs: Pairs = "best_worst",
        ties: Ties = "skip",
        min_gap: float = 0.0,
        rating: str | None = None,
        root: str | None = None,
        weight: str | None = None,
    ) -> None:
        super().__init__(pairs, ties, min_gap, root, weight, rating=rating)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        if "prompt_id" not in columns or not self.has_prompt(columns):
            return False
        if all(looks_like_image(columns.get(name)) for name in (_BETTER, _WORSE)):
            return True
        ranked = columns.get(self.column(columns, "rating", _RANKS))
        return looks_like_images(columns.get(first_of(columns, _IMAGES))) and isinstance(ranked, list)

    def scored(self, row: Mapping[str, Any]) -> list[Scored]:
        if _BETTER in row and "rating" not in self.named:
            return [Scored(self.media(row, _BETTER), 1.0, _BETTER), Scored(self.media(row, _WORSE), 0.0, _WORSE)]
        column = first_of(row, _IMAGES)
        images = self.several(row, column)
        if "rating" in self.named:
            return with_scores(images, self.numbers(row, self.named["rating"], images), column)
        return with_scores(images, from_ranks(self.numbers(row, first_of(row, _RANKS), images)), column)
