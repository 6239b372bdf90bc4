import pytest

from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.objectives.base import Feedback
from modalign.core.sources import TextRow
from modalign.plugins.formats.columns import ColumnsFormat


def roles(comparisons):
    return [
        (comparison.prompt, *((candidate.role, candidate.response) for candidate in comparison.candidates))
        for comparison in comparisons
    ]


def test_a_path_leads_into_lists_and_mappings():
    format = ColumnsFormat(prompt="question.text", chosen="answers.0", rejected="answers.-1")
    row = {"question": {"text": "q"}, "answers": ["good", "middling", "bad"]}
    assert roles(format.parse(row)) == [("q", ("chosen", "good"), ("rejected", "bad"))]


def test_a_column_whose_name_holds_dots_goes_first():
    format = ColumnsFormat(text="a.b")
    assert format.parse({"a.b": "x", "a": {"b": "y"}})[0].candidates[0].response == "x"


def test_a_star_gathers_a_list():
    format = ColumnsFormat(prompt="q", completions="answers.*.text", scores="answers.*.votes", pairs="all")
    row = {"q": "?", "answers": [{"text": "a", "votes": 1}, {"text": "b", "votes": 5}]}
    assert roles(format.parse(row)) == [("?", ("chosen", "b"), ("rejected", "a"))]
    assert ColumnsFormat(prompt="q", completions="all.*", scores="s").parse({"q": "?", "all": ["a", "b"], "s": [1, 2]})


def test_each_set_of_columns_is_its_format():
    row = {
        "a": "q",
        "b": "x",
        "c": False,
        "d": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "v"}],
    }
    label = ColumnsFormat(prompt="a", completion="b", label="c")
    assert (label.parse(row)[0].candidates[0].score, label.feedback(row)) == (0.0, {Feedback.POINTWISE})
    assert roles(ColumnsFormat(prompt="a", completion="b").parse(row)) == [("q", ("chosen", "x"))]
    assert roles(ColumnsFormat(messages="d").parse(row)) == [(row["d"][:1], ("chosen", row["d"][1:]))]
    assert roles(ColumnsFormat(chosen="a", rejected="b").parse(row)) == [("", ("chosen", "q"), ("rejected", "x"))]


def test_weight_and_tools_come_from_their_columns():
    format = ColumnsFormat(text="a", weight="w", tools="t")
    comparison = format.parse({"a": "x", "w": 2, "t": [{"name": "f"}]})[0]
    assert (comparison.weight, comparison.extra) == (2.0, {"tools": [{"name": "f"}]})


def test_a_file_without_types_stays_one():
    format = ColumnsFormat(prompt="a", completion="b", label="c")
    assert format.parse(TextRow(a="q", b="x", c="true"))[0].candidates[0].score == 1.0


def test_ties_are_counted_through():
    format = ColumnsFormat(prompt="q", completions="c", scores="s")
    row = {"q": "?", "c": ["a", "b"], "s": [1, 1]}
    assert (format.parse(row), dict(format.left_out(row))) == ([], {"tie": 1})


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({"q": "?", "answers": ["a"]}, "answers.1", "missing column: no '1' in list ['a']"),
        ({"q": "?", "answers": "ab"}, "answers.0", "no '0' in str 'ab'"),
        ({"q": "?"}, "answers.0", "no 'answers' in what has q"),
        ({"q": "?", "answers": ["a", 3]}, "answers.1", "neither text nor a conversation"),
        ({"q": None, "answers": ["a", "b"]}, "q", "no value"),
        ({"q": "?", "answers": ["a", [{"role": "bot", "content": "b"}]]}, "answers.1[0]", "unknown role"),
    ],
)
def test_errors_carry_the_users_own_names(row, column, message):
    with pytest.raises(RowError) as caught:
        ColumnsFormat(prompt="q", chosen="answers.0", rejected="answers.1").parse(row)
    assert (caught.value.column, message in caught.value.message, bool(caught.value.cure)) == (column, True, True)


def test_a_gap_in_a_gathered_list_is_named_by_its_path():
    with pytest.raises(RowError, match="no 'votes' in what has text") as caught:
        ColumnsFormat(prompt="q", completions="a.*.text", scores="a.*.votes").parse({"q": "?", "a": [{"text": "x"}]})
    assert caught.value.column == "a.*.votes"


def test_a_name_that_the_data_lacks_is_answered_with_the_nearest():
    format = ColumnsFormat(prompt="qestion", chosen="a", rejected="b")
    with pytest.raises(UserError, match=r"no column 'qestion', which data\.format names as prompt") as caught:
        format.resolve({"question": "q", "a": "x", "b": "y"}, "file.jsonl")
    assert "'question'" in caught.value.cure
    fine = {"qestion": "q", "a": "x", "b": "y"}
    assert format.resolve(fine, "file.jsonl") is format
    assert not format.matches(fine)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt": "a"},
        {"chosen": "a"},
        {"chosen": "a", "rejected": "b", "label": "c"},
        {"completion": "a"},
        {"prompt": "p", "text": "a"},
        {"chosen": "a", "rejected": "b", "pairs": "all"},
        {"prompt": "p", "completions": "a", "scores": "b", "ties": "maybe"},
    ],
)
def test_columns_that_make_no_format_are_refused(options):
    with pytest.raises(ConfigError) as caught:
        ColumnsFormat(**options)
    assert caught.value.cure
