"""Pick-a-Pic (arXiv 2305.01569): two images for a caption and which of them a user preferred, if either."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from modalign.core.batch import Comparison
from modalign.core.errors import ConfigError, RowError, did_you_mean
from modalign.modalities.image.formats.base import ImageFormat
from modalign.plugins.formats import values
from modalign.plugins.formats.images import looks_like_image

Ties = Literal["skip", "keep", "error"]

_IMAGES = ("jpg_0", "jpg_1")
_LABELS = ("label_0", "label_1")
_TIE = "tie"
_UNLABELLED = "has_label is false"


class PickAPic(ImageFormat):
    """Pick-a-Pic v1 and v2: `caption`, `jpg_0`, `jpg_1` and `label_0`: 1 if the first image is preferred, 0.5 in a tie.

    `label_1`, where there is one, must be 1 - `label_0`. Rows whose `has_label` is false are left out, counted. Labels
    are numbers; in files without types, such as the text members of webdataset shards, text that is a number is one.

    Args:
        ties: What to do where neither image is preferred (about 12 % of the rows). `skip` leaves the row out, counted,
            as the Diffusion-DPO and MaPO authors do. `keep` makes two comparisons of weight 0.5, one in either
            direction, which is the soft label 0.5: exact for objectives whose pair loss is an average over labels, such
            as the cross-entropy of DPO. `error` refuses the row.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from, where the images are paths; the folder of the data file where
            None.

    Raises:
        ConfigError: `ties` is none of these.
    """

    name = "pick_a_pic"
    wants: ClassVar[str] = "caption, text; jpg_0 and jpg_1, images; label_0, a number: 0, 0.5 or 1"
    prompts: ClassVar[tuple[str, ...]] = ("caption",)

    def __init__(self, ties: Ties = "skip", weight: str | None = None, root: str | None = None) -> None:
        if ties not in get_args(Ties):
            raise ConfigError(f"The format's ties is {ties!r}.", did_you_mean(str(ties), get_args(Ties)))
        super().__init__(root, weight)
        self.ties = ties

    def matches(self, columns: Mapping[str, Any]) -> bool:
        shown = all(looks_like_image(columns.get(name)) for name in _IMAGES)
        return shown and "label_0" in columns and self.has_prompt(columns)

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        label = self._label(row)
        if label is None or (label == 0.5 and self.ties == "skip"):
            return []
        first, second = ((self.media(row, column), column) for column in _IMAGES)
        directions = ((first, second, label), (second, first, 1 - label))
        return [
            self.pair(row, better, worse, (better_column, worse_column), (share, 1 - share), share)
            for (better, better_column), (worse, worse_column), share in directions
            if share
        ]

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        label = self._label(row)
        if label is None:
            return {_UNLABELLED: 1}
        return {_TIE: 1} if label == 0.5 and self.ties == "skip" else {}

    def _label(self, row: Mapping[str, Any]) -> float | None:
        """How much the first image is preferred; None where the row has no label.

        Raises:
            RowError: The labels cannot be read or contradict each other, or it is a tie, which the options refuse.
        """
        if row.get("has_label") is not None and not values.label(row, "has_label"):
            return None
        label = _preference(row, _LABELS[0])
        if row.get(_LABELS[1]) is not None and (other := _preference(row, _LABELS[1])) != 1 - label:
            raise RowError(
                f"contradictory labels: label_0 is {label} and label_1 is {other}", "Remove the row.", _LABELS[1]
            )
        if label == 0.5 and self.ties == "error":
            raise RowError(
                "tie: neither image is preferred",
                "Remove the row, leave ties out with the format's ties: skip, or take them as soft labels with keep.",
                _LABELS[0],
            )
        return label


def _preference(row: Mapping[str, Any], column: str) -> float:
    value = values.number(row, values.required(row, column), column)
    if value not in (0.0, 0.5, 1.0):
        raise RowError(f"not a label: {value}", "Write 1 (preferred), 0 (the other is) or 0.5 (a tie).", column)
    return value
