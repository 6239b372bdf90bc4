"""Whatever a row holds, a format makes sound comparisons of it or refuses it with a `RowError`."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import RowError
from modalign.core.sources import TextRow
from modalign.plugins.formats.columns import ColumnsFormat
from modalign.plugins.formats.demonstration import Demonstration
from modalign.plugins.formats.hh_rlhf import HhRlhf
from modalign.plugins.formats.ranked import Ranked
from modalign.plugins.formats.trl_preference import TrlPreference
from modalign.plugins.formats.unpaired import Unpaired

FORMATS = [
    TrlPreference(weight="weight"),
    HhRlhf(),
    HhRlhf(conversational=True),
    Unpaired(weight="weight"),
    Demonstration(),
    Ranked("none"),
    Ranked("all", ties="error"),
    Ranked("best_vs_rest", min_gap=1.0),
    ColumnsFormat(prompt="messages.0.content", chosen="chosen", rejected="rejected", weight="weight"),
    ColumnsFormat(prompt="prompt", completions="completions.*", scores="scores"),
]

TEXT = st.text(max_size=8) | st.sampled_from(["a", "a b", "a c", "\n\nHuman: a\n\nAssistant: b", "\ud800", "true", "1"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=3) | TEXT | st.just(10**400)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "bot", None, 3])
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": TEXT | st.none() | st.lists(st.dictionaries(st.sampled_from(["type", "text"]), TEXT))},
    optional={"tool_calls": st.lists(st.dictionaries(TEXT, SCALARS, max_size=1), max_size=1), "name": SCALARS},
)
ANSWERS = st.dictionaries(st.sampled_from(["response", "score", "rating", "text"]), SCALARS | st.integers(0, 5))
JUNK = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2))
VALUES = (
    TEXT | SCALARS | JUNK | st.lists(MESSAGES | TEXT | ANSWERS | SCALARS, max_size=4) | st.lists(MESSAGES, max_size=3)
)
SOUND = {
    "prompt": "q",
    "chosen": "\n\nHuman: q\n\nAssistant: a",
    "rejected": "\n\nHuman: q\n\nAssistant: b",
    "completion": "a",
    "label": True,
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    "completions": ["a", "b", "c"],
    "scores": [3.0, 1.0, 2.0],
    "weight": 1.0,
}
OTHERS = ["instruction", "text", "responses", "ratings", "tools", "chat_template_kwargs"]
CHANGES = st.dictionaries(st.sampled_from([*SOUND, *OTHERS]), VALUES, max_size=3)
ROWS = st.builds(
    lambda columns, changes: {name: SOUND[name] for name in columns} | changes,
    st.lists(st.sampled_from(sorted(SOUND)), min_size=7, unique=True),
    CHANGES,
)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: f"{format.name}")
@settings(max_examples=60)
@given(row=ROWS, untyped=st.booleans())
def test_a_row_is_parsed_or_refused(format, row, untyped):
    row = TextRow(row) if untyped else row
    format.matches(row)
    error, comparisons, left_out = outcome(format, row)
    assert error is None or (error.message and error.cure and error.reason)
    assert error is not None or comparisons or left_out
    for comparison in comparisons:
        assert comparison.weight > 0
        assert math.isfinite(comparison.weight)
        for candidate in comparison.candidates:
            response = candidate.response
            assert isinstance(response, str) == isinstance(comparison.prompt, str)
            assert response.strip() if isinstance(response, str) else response[-1]["role"] == "assistant"
            assert candidate.score is None or math.isfinite(candidate.score)
        if comparison.roles == ("chosen", "rejected"):
            assert comparison.candidate("chosen").response != comparison.candidate("rejected").response


def outcome(format, row):
    try:
        return None, format.parse(row), format.left_out(row)
    except RowError as error:
        return error, [], {}


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: f"{format.name}")
@pytest.mark.parametrize("lists_first", [False, True])
def test_nesting_near_the_interpreters_limit_is_refused(format, lists_first):
    deep: object = "x"
    for number in range(900 + lists_first):
        deep = [deep] if number % 2 else {"role": "user", "content": deep}
    names = ["prompt", "chosen", "rejected", "completion", "label", "messages", "text", "scores", "tools", "weight"]
    for columns in (names, names[1:]):
        row = {**dict.fromkeys(columns, deep), "completions": [deep, deep]}
        format.matches(row)
        with pytest.raises(RowError) as caught:
            format.parse(row)
        assert len(str(caught.value)) < 1000
