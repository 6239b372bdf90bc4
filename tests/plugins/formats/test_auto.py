from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import UserError
from modalign.core.format import Format
from modalign.plugins.formats.auto import AutoFormat

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
TRANSCRIPT = "\n\nHuman: a\n\nAssistant: b"


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
    assert AutoFormat().resolve(columns, "file").name == name


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
        AutoFormat().resolve(columns, "file.jsonl")
    message = str(caught.value)
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
