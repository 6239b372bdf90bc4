import pytest

from modalign.core.batch import Candidate
from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.core.sources import TextRow
from modalign.plugins.formats.unpaired import Unpaired

ROW = {"prompt": "a", "completion": "b", "label": True}
CHAT = {
    "prompt": [{"role": "user", "content": "hi"}],
    "completion": [{"role": "assistant", "content": "ho"}],
    "label": False,
}


def parse(row, **options):
    (comparison,) = Unpaired(**options).parse(row)
    return comparison


@pytest.mark.parametrize(("label", "score"), [(True, 1.0), (False, 0.0), (1, 1.0), (0, 0.0), (1.0, 1.0), (0.0, 0.0)])
def test_a_row_is_one_candidate_with_its_label_as_score(label, score):
    assert parse({**ROW, "label": label}).candidates == (Candidate("b", "candidate", score),)


def test_conversations():
    comparison = parse(CHAT)
    assert comparison.prompt == CHAT["prompt"]
    assert comparison.candidates == (Candidate(CHAT["completion"], "candidate", 0.0),)


@pytest.mark.parametrize(("label", "score"), [("true", 1.0), ("False", 0.0), (" 1 ", 1.0), ("0", 0.0)])
def test_text_is_a_label_only_where_a_file_knows_no_types(label, score):
    assert parse(TextRow(ROW, label=label)).candidates[0].score == score
    with pytest.raises(RowError, match="not a label"):
        parse({**ROW, "label": label})


@pytest.mark.parametrize(
    "label", [2, -1, 0.5, float("nan"), float("inf"), "yes", "", None, [], [True], {}, b"1", 10**400]
)
def test_anything_else_is_refused(label):
    for row in ({**ROW, "label": label}, TextRow(ROW, label=label)):
        with pytest.raises(RowError) as caught:
            parse(row)
        assert (caught.value.column, bool(caught.value.cure)) == ("label", True)


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({"prompt": "a", "completion": "b"}, "label", "missing column"),
        ({"completion": "b", "label": True}, "prompt", "missing column"),
        ({**ROW, "completion": "  "}, "completion", "empty response"),
        ({**ROW, "prompt": "", "completion": ""}, "completion", "empty response"),
        ({**ROW, "prompt": CHAT["prompt"]}, "completion", "mixed forms"),
        ({**CHAT, "completion": [{"role": "user", "content": "x"}]}, "completion", "does not end with the assistant"),
    ],
)
def test_a_bad_row_is_refused_with_column_and_cure(row, column, message):
    with pytest.raises(RowError) as caught:
        parse(row)
    assert (caught.value.column, message in caught.value.message, bool(caught.value.cure)) == (column, True, True)


def test_what_it_matches_and_says():
    assert Unpaired().matches(ROW)
    assert Unpaired().matches(CHAT)
    assert not Unpaired().matches({"prompt": "a", "completion": "b"})
    assert not Unpaired().matches({"text": "a", "label": 1})
    assert not Unpaired().matches({**ROW, "chosen": "x", "rejected": "y"})
    assert Unpaired().feedback(ROW) == {Feedback.POINTWISE}
    assert parse({**ROW, "w": 3}, weight="w").weight == 3.0
