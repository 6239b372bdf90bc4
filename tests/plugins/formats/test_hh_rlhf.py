from collections import Counter
from pathlib import Path

import pytest

from modalign.core.errors import RowError
from modalign.core.sources import open_rows
from modalign.plugins.formats.hh_rlhf import HhRlhf
from modalign.plugins.formats.trl_preference import TrlPreference

REAL = Path(__file__).parents[4] / "shared" / "data" / "hh-rlhf" / "harmless-base.test.jsonl.gz"


def said(*turns: str) -> str:
    return "".join(f"\n\n{'Human' if n % 2 == 0 else 'Assistant'}:{turn}" for n, turn in enumerate(turns))


def parse(chosen, rejected, **options):
    (comparison,) = HhRlhf(**options).parse({"chosen": chosen, "rejected": rejected})
    return comparison.prompt, *(candidate.response for candidate in comparison.candidates)


def test_the_prompt_ends_with_the_last_shared_header():
    assert parse(said(" a", " b", " c", " yes"), said(" a", " b", " c", " no")) == (
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:",
        " yes",
        " no",
    )


def test_as_messages():
    prompt, chosen, rejected = parse(said(" a", " b", " c", " yes"), said(" a", " b", " c", " no"), conversational=True)
    assert prompt == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert (chosen, rejected) == ([{"role": "assistant", "content": "yes"}], [{"role": "assistant", "content": "no"}])


def test_answers_that_begin_alike_are_cut_at_the_header_not_inside():
    assert parse(said(" a", " I can"), said(" a", " I can not")) == (
        "\n\nHuman: a\n\nAssistant:",
        " I can",
        " I can not",
    )


def test_names_inside_a_turn_are_no_headers():
    words = " Human: then?  Assistant: no"
    assert parse(said(" a" + words, " b" + words), said(" a" + words, " c"))[1] == " b" + words


def test_two_answers_in_a_row_are_kept_as_they_are():
    twice = said(" a", " b") + "\n\nAssistant: c"
    assert parse(twice, said(" a", " x")) == ("\n\nHuman: a\n\nAssistant:", " b\n\nAssistant: c", " x")
    assert len(parse(twice, said(" a", " x"), conversational=True)[1]) == 2


@pytest.mark.parametrize(
    ("chosen", "rejected", "column", "message"),
    [
        ("hello", said(" a", " b"), "chosen", "no transcript"),
        ("Hello.\n\nHuman: a\n\nAssistant: b", said(" a", " b"), "chosen", "no transcript"),
        (said(" a", " b"), 3, "rejected", "not text"),
        (said(" a", " b"), None, "rejected", "no value"),
        (said(" a", " b"), said(" x", " b"), "chosen", "no prompt"),
        (said(" a"), said(" a"), "chosen", "no prompt"),
        ("\n\nAssistant: a", "\n\nAssistant: b", "chosen", "no prompt"),
        (said(" a", " "), said(" a", " b"), "chosen", "empty response"),
        (said(" a", " b"), said(" a", " b"), "rejected", "identical responses"),
        (said(" a", " b", " c", " d"), said(" a", " x", " y", " z"), "chosen", "turn of the Human"),
    ],
)
def test_a_bad_row_is_refused_with_column_and_cure(chosen, rejected, column, message):
    for conversational in (False, True):
        with pytest.raises(RowError) as caught:
            parse(chosen, rejected, conversational=conversational)
        assert (caught.value.column, message in caught.value.message) == (column, True)
        assert caught.value.cure


def test_it_matches_transcripts_without_a_prompt_column():
    row = {"chosen": said(" a", " b"), "rejected": said(" a", " c")}
    assert HhRlhf().matches(row)
    assert not HhRlhf().matches({**row, "prompt": "a"})
    assert not HhRlhf().matches({"chosen": "a", "rejected": "b"})


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/hh-rlhf beside the repository")
@pytest.mark.parametrize("conversational", [False, True])
def test_every_row_of_the_harmless_test_split(conversational):
    kept, refused = [], Counter()
    source = open_rows(REAL)
    for number, row in source.rows():
        try:
            (comparison,) = HhRlhf(conversational).parse(row)
        except RowError as error:
            refused[error.reason, number] += 1
            continue
        kept.append(comparison)
        chosen, rejected = (candidate.response for candidate in comparison.candidates)
        if conversational:
            assert comparison.prompt[-1]["role"] in ("user", "assistant")
            assert chosen[-1]["role"] == rejected[-1]["role"] == "assistant"
        else:
            assert comparison.prompt.endswith("\n\nAssistant:")
            assert (comparison.prompt + chosen, comparison.prompt + rejected) == (row["chosen"], row["rejected"])
    assert len(source) == 2312
    assert len(kept) == 2308
    # Four chosen transcripts end in "Assistant:" with nothing after it.
    assert refused == Counter({("empty response", number): 1 for number in (86, 516, 925, 1103)})


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/hh-rlhf beside the repository")
def test_the_real_columns_match_one_format():
    columns = open_rows(REAL).columns()
    assert HhRlhf().matches(columns)
    assert not TrlPreference().matches(columns)
