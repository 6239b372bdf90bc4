"""LLaVA's instruction data (arXiv 2304.08485): conversations on an image, to imitate."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from modalign.core.batch import CHOSEN, Candidate, Comparison
from modalign.core.errors import ConfigError, RowError, did_you_mean
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.base import VisionFormat
from modalign.modalities.vision_language.formats.chats import as_answer
from modalign.modalities.vision_language.formats.dialogue import dialogue, looks_like_dialogue
from modalign.plugins.formats import values
from modalign.plugins.formats.values import required

Turns = Literal["last", "all"]

_IMAGES = ("image", "images", "image_path")


class Llava(VisionFormat):
    """`conversations`, and `image` where there is one; `<image>` stands in the text of the turn that shows it.

    Args:
        turns: Which answers to learn. `last`: the last one, with everything before it as the prompt; earlier answers
            are not learned. `all`: each answer, as a comparison of its own whose prompt is everything before it.
        image: The column with the image or the images, where it is called otherwise.
        conversations: The column with the conversation, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths of images start from; the folder of the data file where None.
        allow_urls: Whether images at http and https addresses are fetched, once each; otherwise such rows are refused.

    Raises:
        ConfigError: `turns` is neither of these.
    """

    name = "llava"
    wants: ClassVar[str] = "conversations, a list of turns; image, unless a row has none; and no rejected answer"

    def __init__(
        self,
        turns: Turns = "last",
        image: str | None = None,
        conversations: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        if turns not in get_args(Turns):
            raise ConfigError(f"The format's turns is {turns!r}.", did_you_mean(str(turns), get_args(Turns)))
        super().__init__(root, allow_urls, weight, image=image, conversations=conversations)
        self.turns = turns

    def matches(self, columns: Mapping[str, Any]) -> bool:
        judged = {"chosen", "rejected", "rejected_conversations"} & set(columns)
        return looks_like_dialogue(columns.get("conversations")) and not judged

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return frozenset({Feedback.DEMONSTRATION})

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        column = self.column(row, "conversations", ("conversations",))
        images = self.media(row, self.column(row, "image", _IMAGES))
        turns = dialogue(required(row, column), column)
        prompt = self.ask(turns, images, column)
        answers = [number for number, turn in enumerate(turns) if number and turn["role"] == "assistant"]
        if not answers or (self.turns == "last" and answers[-1] != len(turns) - 1):
            raise RowError(
                "no answer: the conversation does not end with one",
                "End it with the assistant's turn, or remove the row.",
                column,
            )
        weight, extra = values.weight(row, self.weight), values.extra(row)
        return [
            Comparison(
                prompt[:number],
                (Candidate(as_answer(turns[number : number + 1], f"{column}[{number}]"), CHOSEN),),
                weight=weight,
                extra=extra,
            )
            for number in (answers[-1:] if self.turns == "last" else answers)
        ]
