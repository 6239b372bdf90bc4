"""Single responses with a label, as TRL has them for vision: thumbs up or down."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Candidate, Comparison
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import VisionFormat, may_hold_images
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.modalities.vision_language.formats.vision_preference import IMAGES
from modalign.plugins.formats import values
from modalign.plugins.formats.chat import content, looks_like_content


class VisionUnpaired(VisionFormat):
    """`prompt` and `completion`, text or conversations; `label`, true or false; and `images`, a list, or `image`.

    Images are placed as for `vision_preference`.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        completion: The column with the response, where it is called otherwise.
        label: The column with the label, where it is called otherwise.
        images: The column with the image or the images, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "vision_unpaired"
    wants: ClassVar[str] = "prompt and completion, text or conversations; label, true or false; images or image"

    def __init__(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        label: str | None = None,
        images: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(root, allow_urls, weight, prompt=prompt, completion=completion, label=label, images=images)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        images = self.column(columns, "images", IMAGES)
        answered = all(looks_like_content(columns.get(name)) for name in ("prompt", "completion"))
        return answered and "label" in columns and images in columns and may_hold_images(columns[images])

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.POINTWISE})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        asked, answered = self.column(row, "prompt", ("prompt",)), self.column(row, "completion", ("completion",))
        prompt = self.ask(content(row, asked), self.images(row, self.column(row, "images", IMAGES)), asked)
        score = values.label(row, self.column(row, "label", ("label",)))
        candidate = Candidate(as_answer(content(row, answered), answered), score=score)
        return [
            Comparison(prompt, (candidate,), weight=values.weight(row, self.weight), extra=values.extra(row)),
        ]
