import pytest

from modalign.core.audit import audit
from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.core.sources import TextRow
from modalign.modalities.image.formats.pick_a_pic import PickAPic
from tests.modalities.image.formats.pictures import Pictures, Rows

V2 = {
    "are_different": True,
    "best_image_uid": "u0",
    "caption": "a cat",
    "has_label": True,
    "image_0_uid": "u0",
    "image_1_uid": "u1",
    "jpg_0": b"first",
    "jpg_1": b"second",
    "label_0": 1.0,
    "label_1": 0.0,
    "num_example_per_prompt": 3,
}
V1 = {name: V2[name] for name in ("caption", "jpg_0", "jpg_1", "label_0")}


def order(comparison):
    return comparison.candidate(CHOSEN).response.data, comparison.candidate(REJECTED).response.data


@pytest.mark.parametrize("row", [V1, V2])
@pytest.mark.parametrize("label", [0, 1, 0.0, 1.0])
def test_the_label_says_which_image_is_chosen(row, label):
    row = {**row, "label_0": label, **({"label_1": 1 - label} if "label_1" in row else {})}
    assert PickAPic().matches(row)
    (comparison,) = PickAPic().parse(row)
    assert order(comparison) == ((b"first", b"second") if label else (b"second", b"first"))
    assert (comparison.prompt, comparison.weight) == ("a cat", 1.0)
    assert not PickAPic().left_out(row)


@pytest.mark.parametrize(
    ("label", "chosen"), [("0", b"second"), ("1", b"first"), ("0.0", b"second"), ("1.0", b"first"), (" 1\n", b"first")]
)
def test_labels_that_are_text_by_their_kind_of_file_are_read_as_numbers(label, chosen):
    (comparison,) = PickAPic().parse(TextRow({**V1, "label_0": label, "has_label": "true"}))
    assert order(comparison)[0] == chosen


def test_a_tie_that_is_text_by_its_kind_of_file_is_a_tie():
    row = TextRow({**V1, "label_0": "0.5"})
    assert PickAPic().parse(row) == []
    assert PickAPic().left_out(row) == {"tie": 1}


@pytest.mark.parametrize("label", ["0", "1", "0.5", True, False, 0.25, 2, -1, None, float("nan"), b"1", [1]])
def test_no_other_label_is_read_where_columns_have_types(label):
    with pytest.raises(RowError) as caught:
        PickAPic().parse({**V1, "label_0": label})
    assert caught.value.column == "label_0"


@pytest.mark.parametrize("label", ["", "yes", "true", "0.7", "nan"])
def test_no_other_text_is_a_label(label):
    with pytest.raises(RowError) as caught:
        PickAPic().parse(TextRow({**V1, "label_0": label}))
    assert caught.value.column == "label_0"


def test_labels_that_contradict_each_other_are_refused():
    for first, second in ((1.0, 1.0), (0.0, 0.5), (0.5, 1.0)):
        with pytest.raises(RowError, match="contradictory labels"):
            PickAPic("keep").parse({**V2, "label_0": first, "label_1": second})


@pytest.mark.parametrize(
    ("change", "problem", "column"),
    [
        ({"jpg_1": b"first"}, "identical images", "jpg_1"),
        ({"jpg_0": b""}, "no bytes", "jpg_0"),
        ({"jpg_0": None}, "no value", "jpg_0"),
        ({"caption": None}, "no value", "caption"),
        ({"caption": 3}, "not text", "caption"),
        ({"has_label": "false"}, "not a label", "has_label"),
        ({"label_1": "0"}, "not a number", "label_1"),
    ],
)
def test_bad_rows_are_refused(change, problem, column):
    with pytest.raises(RowError, match=problem) as caught:
        PickAPic().parse({**V2, **change})
    assert caught.value.column == column


def test_a_kept_tie_counts_half_in_either_direction():
    ahead, behind = PickAPic("keep", weight="w").parse({**V2, "label_0": 0.5, "label_1": 0.5, "w": 3.0})
    assert order(ahead) == (b"first", b"second")
    assert order(behind) == (b"second", b"first")
    assert ahead.weight == behind.weight == 1.5
    assert {candidate.score for comparison in (ahead, behind) for candidate in comparison.candidates} == {0.5}
    found = audit([ahead, behind])
    assert (found.pairs, found.ties, found.contradictions, found.duplicates) == (2, 2, 0, 0)


def test_a_tie_can_be_an_error():
    row = {**V2, "label_0": 0.5, "label_1": 0.5}
    with pytest.raises(RowError, match="tie: neither") as caught:
        PickAPic("error").parse(row)
    assert "ties: skip" in caught.value.cure
    assert PickAPic("error").parse(V2)
    with pytest.raises(ConfigError, match="ties is 'drop'"):
        PickAPic("drop")


def test_images_may_be_paths():
    (comparison,) = PickAPic(root="/r").parse({**V2, "jpg_0": "a.jpg", "jpg_1": {"bytes": None, "path": "b.jpg"}})
    assert [each.response for each in comparison.candidates] == [Media("/r/a.jpg"), Media("/r/b.jpg")]


@pytest.mark.parametrize(
    ("ties", "comparisons", "kept", "reasons"),
    [
        ("skip", 2, 2, {"tie": 2, "has_label is false": 1}),
        ("keep", 6, 4, {"has_label is false": 1}),
    ],
)
def test_what_is_left_out_is_counted(ties, comparisons, kept, reasons):
    tie = {**V2, "label_0": 0.5, "label_1": 0.5}
    unlabelled = {**V2, "has_label": False, "label_0": None, "label_1": None}
    dataset = ComparisonDataset([Rows([V2, tie, V2, unlabelled, tie])], PickAPic(ties), Pictures())
    (report,) = dataset.report.sources
    assert (report.read, report.kept, report.comparisons) == (5, kept, comparisons)
    assert dict(report.reasons) == reasons
    said = "\n".join(dataset.report.lines())
    assert all(f"{reason}: {count}" in said for reason, count in reasons.items())
