import pytest

from modalign.core.errors import RowError, UserError
from modalign.core.media import Media
from modalign.core.objectives.base import Feedback
from modalign.core.parsing import parse_row
from modalign.core.sources import TextRow
from modalign.modalities.image.formats.image_captions import ImageCaptions
from modalign.modalities.image.formats.image_pairs import ImagePairs

PAIR = {"prompt": "a cat", "chosen": "a.png", "rejected": "b.png"}
CAPTION = {"caption": "a cat", "image": {"bytes": b"x", "path": None}}


@pytest.mark.parametrize(
    "names",
    [
        ("prompt", "chosen", "rejected"),
        ("caption", "chosen_image", "rejected_image"),
        ("text", "image_chosen", "image_rejected"),
        ("prompt", "chosen_file_name", "rejected_file_name"),
        ("txt", "winner", "loser"),
    ],
)
def test_pairs_under_their_common_names(names):
    row = dict(zip(names, ("a cat", "a.png", b"\x89PNG"), strict=True))
    format = ImagePairs()
    assert format.matches(row)
    assert format.feedback(row) == {Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION}
    (comparison,) = format.parse(row)
    assert comparison.prompt == "a cat"
    assert comparison.weight == 1.0
    assert comparison.candidate("chosen").response == Media("a.png")
    assert comparison.candidate("rejected").response == Media(data=b"\x89PNG")


def test_paths_start_from_the_folder_of_the_data_file(tmp_path):
    (comparison,) = parse_row(PAIR, ImagePairs(), (str(tmp_path / "pairs.jsonl"), 7))
    assert comparison.candidate("chosen").response.path == str(tmp_path / "a.png")
    assert comparison.row == 7


def test_pairs_under_other_names():
    format = ImagePairs(prompt="q", chosen="good", rejected="bad", weight="w", root="/pictures")
    row = {"q": "a cat", "good": "a.png", "bad": "/b.png", "w": 0.5, "prompt": 3}
    assert format.matches(row)
    assert format.resolve(row, "a.jsonl") is format
    (comparison,) = format.parse(row)
    assert [each.response.path for each in comparison.candidates] == ["/pictures/a.png", "/b.png"]
    assert (comparison.prompt, comparison.weight) == ("a cat", 0.5)
    with pytest.raises(UserError, match=r"a\.jsonl has no column 'q', which data\.format names as prompt"):
        format.resolve(PAIR, "a.jsonl")
    with pytest.raises(UserError, match="names as weight"):
        ImagePairs(weight="wieght").resolve({**PAIR, "weight": 1.0}, "a.jsonl")


@pytest.mark.parametrize(
    ("change", "problem", "column"),
    [
        ({"prompt": None}, "no value", "prompt"),
        ({"prompt": 3}, "not text", "prompt"),
        ({"prompt": ["a cat"]}, "not text", "prompt"),
        ({"chosen": None}, "no value", "chosen"),
        ({"chosen": 3}, "not an image", "chosen"),
        ({"rejected": "http://x/b.png"}, "a URL", "rejected"),
        ({"rejected": "./a.png"}, "identical images", "rejected"),
        ({"chosen": b"x", "rejected": b"x"}, "identical images", "rejected"),
        ({"w": "1"}, "not a number", "w"),
        ({"w": True}, "not a number", "w"),
        ({"w": 0}, "not a weight", "w"),
        ({"w": float("nan")}, "not a finite number", "w"),
    ],
)
def test_bad_pairs_are_refused(change, problem, column):
    with pytest.raises(RowError, match=problem) as caught:
        ImagePairs(weight="w").parse({"w": 1.0, **PAIR, **change})
    assert caught.value.column == column
    assert caught.value.cure


@pytest.mark.parametrize("gone", PAIR)
def test_a_missing_column_is_named(gone):
    row = {name: value for name, value in PAIR.items() if name != gone}
    assert not ImagePairs().matches(row)
    with pytest.raises(RowError, match="missing column") as caught:
        ImagePairs().parse(row)
    assert caught.value.column == gone


@pytest.mark.parametrize("prompt", ["prompt", "caption", "text", "txt"])
@pytest.mark.parametrize("image", ["image", "image_path", "file_name", "jpg", "png", "jpeg", "webp"])
def test_captions_under_their_common_names(prompt, image):
    row = {prompt: "a cat", image: "a.png"}
    format = ImageCaptions()
    assert format.matches(row)
    assert format.feedback(row) == {Feedback.DEMONSTRATION}
    (comparison,) = format.parse(row)
    assert comparison.roles == ("chosen",)
    assert (comparison.prompt, comparison.candidates[0].response) == ("a cat", Media("a.png"))


def test_captions_under_other_names():
    format = ImageCaptions(prompt="words", image="picture", weight="w", root="/r")
    (comparison,) = format.parse(TextRow(words="a cat", picture="a.png", w="2.5"))
    assert (comparison.prompt, comparison.candidates[0].response.path, comparison.weight) == ("a cat", "/r/a.png", 2.5)


@pytest.mark.parametrize("column", ["label", "ranks", "scores", "chosen"])
def test_captions_leave_what_is_judged_to_other_formats(column):
    assert ImageCaptions().matches(CAPTION)
    assert not ImageCaptions().matches({**CAPTION, column: 1})


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"caption": "a cat"}, "missing column"),
        ({"image": b"x"}, "missing column"),
        ({**CAPTION, "caption": b"a cat"}, "not text"),
        ({**CAPTION, "image": {"bytes": b""}}, "no bytes"),
    ],
)
def test_bad_captions_are_refused(row, problem):
    with pytest.raises(RowError, match=problem):
        ImageCaptions().parse(row)
