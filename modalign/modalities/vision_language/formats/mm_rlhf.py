"""MM-RLHF (arXiv 2502.10391): pairs on an image or a video, ranked by people."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, REJECTED, Comparison
from modalign.core.errors import RowError
from modalign.modalities.vision_language.formats.questions import are_texts
from modalign.modalities.vision_language.formats.vision_preference import OF_MM_RLHF, VisionPreference
from modalign.plugins.formats import values
from modalign.plugins.formats.splitting import TIE


class MmRlhf(VisionPreference):
    """`prompt`, `chosen`, `rejected` and `image`, as in MM-RLHF's dpo_pairs.jsonl.

    Everything is read, and may be named, as `vision_preference` does: `chosen_score` and `rejected_score` are the
    rewards whose difference `mm_dpo` scales beta by, and `mixed_up_image` is the other image. Rows whose `is_tie` is
    true are left out, counted; rows with a `video` are refused. The release's `ls_factor`, a function of that
    difference, is not read.
    """

    name = "mm_rlhf"
    wants: ClassVar[str] = "prompt, chosen and rejected, text; image; is_tie, video, mixed_up_image or reasons beside"

    def matches(self, columns: Mapping[str, Any]) -> bool:
        shown = {"image", "images", "video"} & set(columns)
        return bool(shown) and are_texts(columns, ("prompt", CHOSEN, REJECTED)) and bool(OF_MM_RLHF & set(columns))

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        if row.get("video") is not None:
            raise RowError(
                "a video: this modality reads images only",
                "Leave such rows out with on_bad_row: skip, or write frames of it as `images`.",
                "video",
            )
        return [] if _is_tie(row) else super().parse(row)

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        return {TIE: 1} if _is_tie(row) else {}


def _is_tie(row: Mapping[str, Any]) -> bool:
    return row.get("is_tie") is not None and values.label(row, "is_tie") == 1.0
