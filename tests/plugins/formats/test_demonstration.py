import pytest

from modalign.core.batch import Candidate
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats.demonstration import Demonstration

TURNS = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": "r"},
    {"role": "assistant", "content": "b"},
]


def parse(row, **options):
    (comparison,) = Demonstration(**options).parse(row)
    return comparison


@pytest.mark.parametrize(
    ("row", "prompt", "response"),
    [
        ({"prompt": "p", "completion": "c"}, "p", "c"),
        ({"prompt": TURNS[:2], "completion": TURNS[2:3]}, TURNS[:2], TURNS[2:3]),
        ({"messages": TURNS}, TURNS[:4], TURNS[4:]),
        ({"text": "all of it"}, "", "all of it"),
        ({"prompt": "p", "completion": "c", "text": "pc"}, "p", "c"),
        ({"text": "flat", "messages": TURNS}, TURNS[:4], TURNS[4:]),
    ],
)
def test_the_response_is_the_chosen(row, prompt, response):
    comparison = parse(row)
    assert Demonstration().matches(row)
    assert (comparison.prompt, comparison.candidates) == (prompt, (Candidate(response, "chosen"),))


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({}, "prompt", "missing column: the row has none"),
        ({"prompt": "p"}, "completion", "missing column"),
        ({"prompt": "p", "completion": ""}, "completion", "empty response"),
        ({"text": " "}, "text", "empty response"),
        ({"text": None}, "text", "no value"),
        ({"text": TURNS}, "text", "not text"),
        ({"messages": "q"}, "messages", "not a conversation"),
        ({"messages": TURNS[:1]}, "messages", "not a conversation"),
        ({"messages": TURNS[:2]}, "messages", "does not end with the assistant"),
        ({"messages": [{"from": "human", "value": "q"}, *TURNS]}, "messages[0]", "not a message"),
    ],
)
def test_a_bad_row_is_refused_with_column_and_cure(row, column, message):
    with pytest.raises(RowError) as caught:
        parse(row)
    assert (caught.value.column, message in caught.value.message, bool(caught.value.cure)) == (column, True, True)


def test_what_it_matches_and_says():
    for other in ({"label": True}, {"chosen": "a", "rejected": "b"}, {"completions": ["a"]}):
        assert not Demonstration().matches({"prompt": "p", "completion": "c", **other})
    assert not Demonstration().matches({"text": "a review", "label": 1})
    assert not Demonstration().matches({"text": 3})
    assert Demonstration().feedback({}) == {Feedback.DEMONSTRATION}
    assert parse({"text": "t", "w": 0.5}, weight="w").weight == 0.5
