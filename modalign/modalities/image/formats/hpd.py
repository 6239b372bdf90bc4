"""Human Preference Dataset v2 (arXiv 2306.09341) and v3 (arXiv 2508.03789), as their JSON files have them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import ConfigError, RowError
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.modalities.image.formats.base import ImageFormat
from modalign.plugins.formats import values
from modalign.plugins.formats.media.lists import MediaLists, from_ranks, with_scores
from modalign.plugins.formats.splitting import Pairs, Scored, Ties

_PREFERRED, _OTHER = "path1", "path2"
_CONFIDENCE = "confidence"
_UNSURE = "confidence below min_confidence"


class Hpd(MediaLists, ImageFormat):
    """The rows of HPDv2's train.json and test.json and of HPDv3's files, all with `prompt` and paths of images.

    HPDv2 train: `file_path`, a list, and `human_preference`, 1 for the preferred image and 0 for others. HPDv2 test:
    `image_path`, a list, and `rank`, the averaged ranking, of which the smallest is the best; it becomes the share of
    the other images that an image is ahead of. HPDv3: `path1`, preferred over `path2`, and mostly `confidence`.

    Args:
        root: The folder that the paths start from; the folder of the data file where None.
        pairs: What to make of a list. `none`: one comparison of all its images, for listwise objectives. `best_worst`:
            the best and the worst. `best_vs_rest`: the best with each other one. `all`: every two.
        ties: Images that are as good as each other make no pair: `skip` leaves it out, counted; `error` refuses the
            row. With `pairs: none`, `skip` leaves out lists of equals only, and `error` refuses any two equal ones.
        min_confidence: Leave out, counted, rows of HPDv3 whose annotators agree less than this.
        weight: The column with the weight of a row; every row weighs 1 without it.

    Raises:
        ConfigError: An option is out of range.
    """

    name = "hpd"
    wants: ClassVar[str] = "prompt; file_path and human_preference, or image_path and rank (lists), or path1 and path2"
    prompts: ClassVar[tuple[str, ...]] = ("prompt",)

    def __init__(
        self,
        root: str | None = None,
        pairs: Pairs = "best_worst",
        ties: Ties = "skip",
        min_confidence: float | None = None,
        weight: str | None = None,
    ) -> None:
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ConfigError(f"The format's min_confidence is {min_confidence}.", "Give a number between 0 and 1.")
        super().__init__(pairs, ties, 0.0, root, weight)
        self.min_confidence = min_confidence

    def matches(self, columns: Mapping[str, Any]) -> bool:
        lists = [
            {name for name in names if isinstance(columns.get(name), list)} == names
            for names in ({"file_path", "human_preference"}, {"image_path", "rank"})
        ]
        paths = all(isinstance(columns.get(name), str) for name in (_PREFERRED, _OTHER))
        return self.has_prompt(columns) and "prompt_id" not in columns and (any(lists) or paths)

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        if self.min_confidence is not None and _CONFIDENCE not in columns:
            raise ConfigError(
                f"The format's min_confidence is {self.min_confidence}, and {source} has no column {_CONFIDENCE!r}.",
                "Remove min_confidence, which is for HPDv3.",
            )
        return super().resolve(columns, source, modality)

    def scored(self, row: Mapping[str, Any]) -> list[Scored]:
        if _PREFERRED in row:
            return [Scored(self.media(row, _PREFERRED), 1.0, _PREFERRED), Scored(self.media(row, _OTHER), 0.0, _OTHER)]
        if "image_path" in row:
            images = self.several(row, "image_path")
            return with_scores(images, from_ranks(self.numbers(row, "rank", images)), "image_path")
        images = self.several(row, "file_path")
        preferred = self.numbers(row, "human_preference", images)
        if not set(preferred) <= {0.0, 1.0}:
            raise RowError(f"not preferences: {preferred}", "Write 1 for preferred and 0 for not.", "human_preference")
        return with_scores(images, preferred, "file_path")

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        return [] if self._is_unsure(row) else super().parse(row)

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        return {_UNSURE: 1} if self._is_unsure(row) else super().left_out(row)

    def _is_unsure(self, row: Mapping[str, Any]) -> bool:
        if self.min_confidence is None:
            return False
        return values.number(row, values.required(row, _CONFIDENCE), _CONFIDENCE) < self.min_confidence
