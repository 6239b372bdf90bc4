"""`data.format auto` chooses among all registered formats by the columns of published data sets."""

import warnings

import pytest

from modalign.core.errors import ConfigError, UserError
from modalign.plugins.formats.auto import AutoFormat
from modalign.plugins.formats.columns import ColumnsFormat
from modalign.plugins.formats.trl_preference import TrlPreference
from modalign.plugins.manager import registry
from tests.modalities.vision_language.formats.samples import QUESTION, RED, SAMPLES, TRL, Looking, Strings, stored

PAIR = {"prompt": QUESTION, "chosen": "A cat.", "rejected": "A dog."}


@pytest.mark.parametrize(("name", "row"), SAMPLES, ids=[f"{name}-{k}" for k, (name, _) in enumerate(SAMPLES)])
def test_every_published_row_is_known_by_its_columns(name, row):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert AutoFormat().resolve(row, "file", Looking()).name == name


@pytest.mark.parametrize(
    "beside",
    [
        {"question": QUESTION},
        {"messages": [*TRL["prompt"], *TRL["chosen"]], "score_chosen": 1.0},
        {"conversations": [{"from": "human", "value": QUESTION}]},
        {"chosen_reason": "...", "is_tie": False},
        {"retrieved_image": None, "other_images": ["b.png"], "rejected_images": ["c.png"]},
    ],
)
def test_columns_beside_those_of_trl_change_nothing(beside):
    assert AutoFormat().resolve({**TRL, **beside}, "file", Looking()).name == "vision_preference"


def test_every_format_of_the_modality_has_a_sample():
    registered = {
        entry.name for entry in registry().entries("format") if entry.plugin.name == "builtin-vision-language"
    }
    assert registered == {name for name, _ in SAMPLES}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (PAIR, "trl_preference"),
        ({"prompt": QUESTION, "completion": "A cat."}, "demonstration"),
        ({"prompt": QUESTION, "completion": "A cat.", "label": False}, "unpaired"),
    ],
)
def test_files_of_text_alone_are_read_by_formats_of_text(row, name):
    assert AutoFormat().resolve(row, "file", Looking()).name == name


@pytest.mark.parametrize(
    "images", [{"img": "a.png"}, {"image_1": stored(RED)}, {"other_images": ["a.png"]}, {"img_path": "a.png"}]
)
def test_no_format_of_text_is_taken_where_it_would_not_show_the_images(images):
    row = {"prompt": QUESTION, "completions": ["a", "b"], "scores": [1, 0], **images}
    assert AutoFormat().resolve(row, "file", Strings()).name == "ranked"
    with pytest.raises(UserError, match=next(iter(images))) as caught:
        AutoFormat().resolve(row, "file", Looking())
    assert "vision_language" in caught.value.cure


@pytest.mark.parametrize(
    "format", [TrlPreference(), ColumnsFormat(prompt="prompt", chosen="chosen", rejected="rejected")]
)
def test_a_format_of_text_that_is_named_refuses_images_too(format):
    assert format.resolve({**PAIR, "image": None, "images": []}, "file", Looking()) is format
    with pytest.raises(ConfigError, match=r"file holds images \(image\)"):
        format.resolve({**PAIR, "image": "a.png"}, "file", Looking())


@pytest.mark.parametrize(
    "images",
    [{"images": 3}, {"picture": "img/0.png"}, {"photo": stored(RED)}, {"shots": ["a.jpg", "b.jpeg"]}],
    ids=["no image", "path", "bytes", "paths"],
)
def test_images_are_found_by_a_columns_name_or_by_its_values(images):
    """Else the rows would be read as text alone, and a model trained on questions whose images it is not shown."""
    with pytest.raises(ConfigError, match=rf"holds images \({next(iter(images))}\)"):
        AutoFormat().resolve({**PAIR, **images}, "file", Looking())


@pytest.mark.parametrize(
    "column", [{"source": "a.jsonl"}, {"note": "see a.png below"}, {"chosen": "a.png"}, {"meta": {"id": 1}}]
)
def test_other_columns_hold_no_images(column):
    assert AutoFormat().resolve({**PAIR, **column}, "file", Looking()).name == "trl_preference"


def test_a_run_on_text_is_told_that_images_are_ignored():
    with pytest.warns(UserWarning, match=r"file holds images \(images\).*they are ignored"):
        AutoFormat().resolve(TRL, "file", Strings())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AutoFormat().resolve(PAIR, "file", Strings())
