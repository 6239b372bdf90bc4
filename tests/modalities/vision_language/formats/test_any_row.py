"""Whatever a row holds, a format makes sound comparisons of it or refuses it with a `RowError`."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.sources import TextRow
from modalign.modalities.vision_language.formats.base import same_answer
from modalign.modalities.vision_language.prompts import images_of
from modalign.plugins.manager import registry
from tests.modalities.vision_language.formats.samples import RED, SAMPLES, completion, said, stored, turn

FORMATS = sorted({name for name, _ in SAMPLES})
COLUMNS = sorted(
    {column for _, row in SAMPLES for column in row} | {"other_images", "other_response", "weight", "tools"}
)
TEXTS = st.sampled_from(["", " ", "Q", "<image>", "<image>Q<image>", "a.png", "https://x/a.png", "\ud800", "{}", "[1"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.binary(max_size=2) | TEXTS | st.just(10**400)
)
PARTS = st.sampled_from(
    [
        {"type": "image"},
        {"type": "image", "image": 3},
        {"type": "text", "text": "Q"},
        {"type": "text"},
        {"type": "image_url"},
    ]
)
TURNS = st.builds(turn, st.sampled_from(["human", "gpt", "cat", "user"]), TEXTS) | st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", 3]),
        "content": TEXTS | st.lists(PARTS | SCALARS, max_size=3),
    }
)
SOUND = st.sampled_from(
    [
        said("user", None, "Q"),
        said("assistant", "A"),
        stored(RED),
        completion("a", "1", "N/A", "3"),
        completion("b", "1", "2", "3"),
        {"response": "a", "score": 1},
        {"response": ["a", "b"], "score": [1, 2]},
        {"bytes": None, "path": None},
        {"url": "x"},
    ]
)
VALUES = SCALARS | TURNS | SOUND | st.lists(SCALARS | TURNS | SOUND, max_size=3)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=50, deadline=None)
@given(data=st.data(), untyped=st.booleans())
def test_a_row_is_parsed_or_refused(name, data, untyped):
    row = dict(data.draw(st.sampled_from([row for known, row in SAMPLES if known == name])))
    for column in data.draw(st.lists(st.sampled_from(COLUMNS), max_size=3)):
        row.pop(column, None)
    # Mostly the columns that this format reads, so that what is behind the first checks is reached.
    row |= data.draw(st.dictionaries(st.sampled_from(sorted(row) * 3 + COLUMNS), VALUES, max_size=3))
    row = changed_inside(row, data.draw(st.integers(1, 60)), data.draw(VALUES))[0]
    row = TextRow(row) if untyped else row
    format = registry().load("format", name)()
    format.matches(row)
    error, comparisons, left_out = outcome(format, row)
    assert error is None or (error.message and error.cure and error.reason and error.column)
    assert error is not None or comparisons or left_out
    for comparison in comparisons:
        check(comparison)


def changed_inside(value, place, new):
    """The value with its part number `place`, counted into the depth, replaced; and what is left of the count."""
    if place == 0:
        return new, -1
    place -= 1
    if isinstance(value, dict):
        items = []
        for key, item in value.items():
            item, place = changed_inside(item, place, new) if place >= 0 else (item, place)
            items.append((key, item))
        return dict(items), place
    if isinstance(value, list):
        parts = []
        for part in value:
            part, place = changed_inside(part, place, new) if place >= 0 else (part, place)
            parts.append(part)
        return parts, place
    return value, place


def outcome(format, row):
    try:
        return None, format.parse(row), format.left_out(row)
    except RowError as error:
        return error, [], {}


def check(comparison):
    assert 0 < comparison.weight < math.inf
    for candidate in comparison.candidates:
        prompt = comparison.prompt if candidate.context is None else candidate.context
        assert prompt
        assert all(isinstance(image, Media) and (image.data or image.path) for image in images_of(prompt))
        assert "<image>" not in str([message["content"] for message in prompt if isinstance(message["content"], str)])
        assert all(isinstance(message["content"], str) for message in candidate.response)
        assert candidate.response[-1]["role"] == "assistant"
        assert candidate.score is None or math.isfinite(candidate.score)
    if comparison.roles == (CHOSEN, REJECTED):
        chosen, rejected = comparison.candidates
        assert rejected.context is not None or not same_answer(chosen.response, rejected.response)
