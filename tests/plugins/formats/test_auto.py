from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import ConfigError, UserError
from modalign.core.format import Format
from modalign.plugins.formats.auto import AutoFormat
from modalign.plugins.formats.trl_preference import TrlPreference
from tests.characters import Characters

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
TRANSCRIPT = "\n\nHuman: a\n\nAssistant: b"


class Strings(Characters):
    name = "text"
    reads = frozenset()


class Pictures(Characters):
    name = "image"
    reads = frozenset()


class Doodles(Format):
    name = "doodles"
    wants = "a doodle"

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return "doodle" in columns

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        return [Comparison(None, (Candidate(row["doodle"]),))]


class Everything(Doodles):
    name = "everything"
    wants = "anything"

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return True


class Broken(Doodles):
    name = "broken"

    def matches(self, columns: Mapping[str, Any]) -> bool:
        raise KeyError("oops")


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "trl_preference"),
        ({"chosen": CHAT, "rejected": CHAT}, "trl_preference"),
        ({"prompt": "hi", "messages": CHAT, "chosen": CHAT, "rejected": CHAT, "score_chosen": 1.0}, "trl_preference"),
        ({"chosen": TRANSCRIPT, "rejected": TRANSCRIPT}, "hh_rlhf"),
        ({"prompt": "a", "completion": "b", "label": True}, "unpaired"),
        ({"prompt": CHAT, "completion": CHAT, "label": False}, "unpaired"),
        ({"prompt": "a", "completion": "b"}, "demonstration"),
        ({"messages": CHAT}, "demonstration"),
        ({"text": "abc", "id": 3}, "demonstration"),
        ({"prompt": "a", "completions": ["a", "b"], "scores": [1, 2]}, "ranked"),
        ({"instruction": "a", "completions": [{"response": "b", "overall_score": 2.0}], "models": ["x"]}, "ranked"),
    ],
)
def test_each_schema_finds_its_format_among_the_registered_ones(columns, name):
    assert AutoFormat().resolve(columns, "file", Strings()).name == name


@pytest.mark.parametrize(
    "columns",
    [
        {"question": "a", "answer": "b"},
        {"text": "a review", "label": 1},
        {"prompt": "a", "completions": ["b"], "labels": [True]},
        {"prompt": 3, "chosen": 4, "rejected": 5},
        {"conversations": [{"from": "human", "value": "x"}]},
    ],
)
def test_an_unknown_schema_is_answered_with_what_each_format_wants(columns):
    with pytest.raises(UserError, match=r"file\.jsonl fits no format") as caught:
        AutoFormat().resolve(columns, "file.jsonl", Strings())
    message = str(caught.value)
    assert "image" not in message
    for expected in [*columns, "trl_preference: chosen and rejected", "unpaired: ", "ranked: ", "`columns`"]:
        assert expected in message


def test_formats_of_other_packages_take_part():
    assert AutoFormat([Doodles()]).resolve({"doodle": 1}, "file").name == "doodles"


def test_several_matches_are_no_choice():
    with pytest.raises(UserError, match=r"fits 2 formats \(doodles and everything\)"):
        AutoFormat([Doodles(), Everything()]).resolve({"doodle": 1}, "file")


def test_a_broken_format_is_named_and_leaves_the_others_usable():
    with pytest.warns(UserWarning, match="broken is left out"):
        assert AutoFormat([Broken(), Doodles()]).resolve({"doodle": 1}, "file").name == "doodles"


def test_it_parses_nothing_itself():
    assert not AutoFormat().matches({"prompt": "a"})
    with pytest.raises(UserError, match="resolve"):
        AutoFormat().parse({"prompt": "a"})


IMAGE = {"bytes": b"x", "path": None}


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"prompt": "a", "chosen": "a.png", "rejected": "b.png"}, "image_pairs"),
        ({"caption": "a", "chosen": IMAGE, "rejected": IMAGE, "label": 1}, "image_pairs"),
        ({"text": "a", "image": IMAGE}, "image_captions"),
        ({"caption": "a", "file_name": "a.png"}, "image_captions"),
        ({"prompt": "a", "image": "a.png", "label": True}, "image_thumbs"),
        ({"prompt": "a", "images": ["a.png", "b.png"], "scores": [1.0, 2.0]}, "image_ranked"),
        ({"prompt": "a", "images": [IMAGE, IMAGE], "ranks": [1, 2]}, "image_ranked"),
        ({"caption": "a", "jpg_0": b"x", "jpg_1": b"y", "label_0": 1.0, "label_1": 0.0}, "pick_a_pic"),
        ({"prompt": "a", "file_path": ["a.jpg", "b.jpg"], "human_preference": [1, 0]}, "hpd"),
        ({"prompt": "a", "image_path": ["a.jpg", "b.jpg"], "rank": [1, 0], "raw_annotations": []}, "hpd"),
        ({"prompt": "a", "path1": "a.jpg", "path2": "b.jpg", "confidence": 0.9, "choice_dist": [9, 1]}, "hpd"),
        ({"prompt_id": "1", "prompt": "a", "image_path": ["a.jpg", "b.jpg"], "rank": [1, 2]}, "image_reward_db"),
        ({"prompt_id": "1", "prompt": "a", "image": [IMAGE, IMAGE], "rank": [1, 2]}, "image_reward_db"),
        ({"prompt_id": "1", "prompt": "a", "generations": ["a.jpg", "b.jpg"], "ranking": [1, 2]}, "image_reward_db"),
        ({"prompt_id": "1", "prompt": "a", "img_better": IMAGE, "img_worse": IMAGE}, "image_reward_db"),
    ],
)
def test_each_schema_of_images_finds_its_format(columns, name):
    assert AutoFormat().resolve(columns, "file", Pictures()).name == name


def test_the_same_columns_are_text_or_images_by_the_modality():
    columns = {"prompt": "a", "chosen": "a.png", "rejected": "b.png"}
    assert AutoFormat().resolve(columns, "file", Strings()).name == "trl_preference"
    assert AutoFormat().resolve(columns, "file", Pictures()).name == "image_pairs"
    with pytest.raises(UserError, match=r"fits no format(?s:.*)image_pairs: ") as caught:
        AutoFormat().resolve({"question": "a"}, "file", Pictures())
    assert "trl_preference: " not in str(caught.value)


def test_a_format_of_another_modality_is_refused():
    columns = {"prompt": "a", "chosen": "a.png", "rejected": "b.png"}
    text = TrlPreference()
    assert text.resolve(columns, "file", Strings()) is text.resolve(columns, "file", Characters()) is text
    with pytest.raises(ConfigError, match="'trl_preference' reads responses of text") as caught:
        text.resolve(columns, "file", Pictures())
    assert "data.format: auto" in caught.value.cure


def test_a_format_that_names_no_modality_reads_any():
    doodles = Doodles()
    assert doodles.resolve({"doodle": 1}, "file", Pictures()) is doodles
    assert AutoFormat([doodles, TrlPreference()]).resolve({"doodle": 1}, "file", Strings()) is doodles
