"""Images with captions, to imitate: the data of supervised fine-tuning."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import CHOSEN, Candidate, Comparison
from modalign.core.objectives.base import Feedback
from modalign.modalities.image.formats.base import IMAGES, ImageFormat
from modalign.plugins.formats import values
from modalign.plugins.formats.images import looks_like_image

_OTHER_FORMATS = frozenset({"label", "rank", "ranks", "scores", "chosen", "rejected"})


class ImageCaptions(ImageFormat):
    """`prompt` (or `caption`, `text`) with one `image` (or `image_path`, `file_name`, `jpg`, `png`, ...).

    An image is a path, the bytes of a file, a mapping with either, or base64 text.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        image: The column with the image, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
    """

    name = "image_captions"
    wants: ClassVar[str] = "prompt (or caption), text; image (or file_name, jpg, png); no label, chosen or rejected"

    def __init__(
        self,
        prompt: str | None = None,
        image: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(root, weight, prompt=prompt, image=image)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        shown = columns.get(self.column(columns, "image", IMAGES))
        return self.has_prompt(columns) and looks_like_image(shown) and not _OTHER_FORMATS & set(columns)

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.DEMONSTRATION})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        candidate = Candidate(self.image(row, self.column(row, "image", IMAGES)), CHOSEN)
        return [Comparison(self.prompt(row), (candidate,), weight=values.weight(row, self.weight))]
