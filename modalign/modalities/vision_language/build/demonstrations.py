"""The responses that a policy is to prefer, each with its prompt and its one image, whatever format they are in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from modalign.core.batch import CHOSEN, Comparison
from modalign.core.content import content_hash
from modalign.core.data_report import LeftOut
from modalign.core.errors import RowError, UserError
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.parsing import parse_row
from modalign.core.sources import RowSource
from modalign.modalities.image.decoding import picture_key
from modalign.modalities.vision_language.prompts import Message, images_of, with_images

TEXTS_KEPT = 20_000
"""How many responses at most are kept in memory, for what counts their words."""


@dataclass(frozen=True)
class Demonstration:
    """A response to prefer.

    Attributes:
        prompt: A chat with one image.
        image: That image.
        chosen: The response.
        source: The file it is from.
        row: The row there.
    """

    prompt: Sequence[Message]
    image: Any
    chosen: str
    source: str
    row: int


@dataclass(frozen=True)
class Place:
    """Where a demonstration is: the number of its source, of its row there, and of its comparison in the row."""

    source: int
    row: int
    part: int


@dataclass
class Survey:
    """What one look at all rows has found.

    Attributes:
        places: Of the demonstrations.
        images: The number of each one's image.
        keys: For each different image, a hash of its content.
        first: For each different image, the number of the first demonstration with it.
        rows: How many rows were read.
        left_out: What is not used, and why.
        texts: The first `TEXTS_KEPT` responses.
        content: A hash of all demonstrations.
    """

    places: list[Place] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    rows: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    content: str = ""


class Demonstrations:
    """The demonstrations of some sources.

    Args:
        sources: Where the rows are.
        format: Their schema, resolved for each source by its columns.
        modality: Whose responses they are.
        limit: Look at the first rows only.

    Raises:
        UserError: No format fits.
    """

    def __init__(self, sources: Sequence[RowSource], format: Format, modality: Modality, limit: int | None) -> None:
        self.sources = sources
        self.formats = [format.resolve(source.columns(), source.name, modality) for source in sources]
        self.limit = limit

    def survey(self) -> Survey:
        """Look at every row, and at the content of every image file.

        Raises:
            UserError: No row can be used.
        """
        survey, numbers = Survey(), dict[str, int]()
        for source, row in self._rows():
            survey.rows += 1
            name, number = self.sources[source].place(row)
            try:
                comparisons = self._comparisons(source, row)
            except RowError as error:
                survey.left_out.append(LeftOut.of(error, name, number))
                continue
            for part, comparison in enumerate(comparisons):
                try:
                    self._add(survey, numbers, Place(source, row, part), demonstration(comparison))
                except RowError as error:
                    survey.left_out.append(LeftOut.of(error, name, number))
        if not survey.places:
            reasons = "\n".join(f"  {left.message.splitlines()[0]}" for left in survey.left_out[:5])
            raise UserError(f"None of {survey.rows} rows can be used:\n{reasons}", "See the reasons.")
        return survey

    def at(self, place: Place) -> Demonstration:
        """Read one demonstration again."""
        return demonstration(self._comparisons(place.source, place.row)[place.part])

    def _add(self, survey: Survey, numbers: dict[str, int], place: Place, found: Demonstration) -> None:
        key = picture_key(found.image)
        if key not in numbers:
            numbers[key] = len(numbers)
            survey.keys.append(key)
            survey.first.append(len(survey.places))
        survey.places.append(place)
        survey.images.append(numbers[key])
        if len(survey.texts) < TEXTS_KEPT:
            survey.texts.append(found.chosen)
        survey.content = content_hash([survey.content, key, _readable(found.prompt), found.chosen])

    def _rows(self) -> Iterator[tuple[int, int]]:
        left = self.limit
        for number, source in enumerate(self.sources):
            count = len(source) if left is None else min(len(source), left)
            yield from ((number, row) for row in range(count))
            left = None if left is None else left - count

    def _comparisons(self, source: int, row: int) -> Sequence[Comparison]:
        rows = self.sources[source]
        return parse_row(rows[row], self.formats[source], rows.place(row))


def demonstration(comparison: Comparison) -> Demonstration:
    """The chosen response of a comparison, with its prompt.

    Raises:
        RowError: There is none that is text, or the prompt has not exactly one image.
    """
    if CHOSEN not in comparison.roles:
        raise RowError("no response is said to be good", "Give demonstrations, or pairs with a chosen response.")
    candidate = comparison.candidate(CHOSEN)
    prompt = comparison.prompt if candidate.context is None else candidate.context
    images = images_of(prompt)
    if len(images) != 1:
        raise RowError(f"the prompt has {len(images)} images, not one", "Re-Align replaces the one image of a prompt.")
    text = _text_of(candidate.response)
    if not text.strip():
        raise RowError("the chosen response is empty", "Remove the row.")
    return Demonstration(prompt, images[0], text, comparison.source, comparison.row)


def _text_of(response: Any) -> str:
    """A response as text: itself, or what the assistant's one message says."""
    if isinstance(response, str):
        return response
    content = response[0].get("content") if isinstance(response, Sequence) and len(response) == 1 else None
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(part.get("type") == "text" for part in content):
        return "".join(part["text"] for part in content)
    raise RowError("the chosen response is not one message of text", "Remove the row.")


def _readable(prompt: Sequence[Message]) -> list[Any]:
    """A prompt without its image, for a hash."""
    return list(with_images(prompt, [None]))
