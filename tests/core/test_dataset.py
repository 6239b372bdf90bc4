import io
import json
import multiprocessing
import pickle
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.batch import Candidate, Comparison
from modalign.core.dataset import ComparisonDataset, split_rows
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.extra_cells import LatestOther, OtherRow
from modalign.core.objectives.base import Feedback
from modalign.core.sources import open_rows
from modalign.plugins.formats.auto import AutoFormat
from modalign.plugins.formats.hh_rlhf import HhRlhf
from modalign.plugins.formats.ranked import Ranked
from modalign.plugins.formats.trl_preference import TrlPreference
from modalign.plugins.formats.unpaired import Unpaired
from tests.characters import Characters

REAL = Path(__file__).parents[3] / "shared" / "data" / "hh-rlhf" / "harmless-base.test.jsonl.gz"


class Tight(Characters):
    """Has room for 12 characters of prompt and response together."""

    def encode(self, comparison):
        example = super().encode(comparison)
        if len(comparison.prompt) + max(example.sizes) > 12:
            raise RowError("no room", "Shorten it.", "prompt")
        return example


class Neighbours(Characters):
    """Makes cells from another row, which must end in another letter; rows that end in `0` are nobody's other row."""

    extra_roles = frozenset({"neighbour"})

    def needs_other_row(self, roles):
        return "neighbour" in roles

    def other_key(self, comparison):
        last = comparison.prompt[-1]
        return None if last == "0" else last

    def extra_candidate(self, comparison, role, other):
        return Candidate(other.candidate("rejected").response, role, context=other.prompt)


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return open_rows(path)


def refuse_rejected_c(comparison):
    if comparison.candidate("rejected").response == "c":
        raise RowError("no c is learned from", "Write another.")


def pair(prompt, chosen="a", rejected="b"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def pairs(path, *prompts):
    return write(path, [pair(prompt, f"a{n}", f"b{n}") for n, prompt in enumerate(prompts)])


def build(*sources, format=None, modality=None, **options):
    return ComparisonDataset(sources, format or TrlPreference(), modality or Characters(), **options)


def totals(dataset):
    return {name: count for name, count in dataset.report.as_dict().items() if isinstance(count, int) and count}


def test_comparisons_know_file_and_row_and_are_encoded(tmp_path):
    source = write(tmp_path / "a.jsonl", [pair("p"), "", "{", pair("q", "yes", "no")])
    dataset = build(source, on_bad_row="skip")
    assert len(dataset) == 2
    comparison = dataset.comparison(1)
    assert (comparison.source, comparison.row) == (str(tmp_path / "a.jsonl"), 3)
    assert (dataset[1].comparison, dataset[1].cells, dataset[1].sizes) == (
        comparison,
        (("q", "yes"), ("q", "no")),
        (3, 2),
    )
    for index in (-1, 2):
        with pytest.raises(IndexError):
            dataset[index]


def test_the_first_twenty_bad_rows_are_listed_and_all_are_counted(tmp_path):
    source = write(tmp_path / "a.jsonl", [pair("p"), *[pair("p", "")] * 30, "{"])
    with pytest.raises(UserError) as caught:
        build(source)
    message = str(caught.value)
    assert message.startswith("31 of 32 rows cannot be used:")
    assert f"{tmp_path / 'a.jsonl'}, row 1, column 'chosen': empty response\n  -> " in message
    assert "row 20, " in message
    assert "row 21, " not in message
    assert "... and 11 more" in message


def test_skipped_rows_are_counted_by_reason_listed_in_full_and_printed_in_part(tmp_path):
    rows = [pair("p"), *[pair("p", "")] * 12, pair("p", "same", "same"), pair("long" * 9), pair("p", "x" * 31)]
    dataset = build(
        write(tmp_path / "a.jsonl", rows), modality=Characters(max_prompt=9, max_response=30), on_bad_row="skip"
    )
    (source,) = dataset.report.sources
    assert (source.read, source.kept, source.comparisons, source.truncated) == (16, 2, 2, 1)
    assert [row.row for row in source.skipped] == [*range(1, 14), 15]
    assert source.reasons == Counter({"empty response": 12, "identical responses": 1, "no room": 1})
    assert source.kept + len(source.skipped) == source.read
    lines = "\n".join(dataset.report.lines())
    assert "16 rows read, 2 kept, 14 skipped (empty response: 12, identical responses: 1, no room: 1)" in lines
    assert "2 comparisons, 1 truncated" in lines
    assert lines.count("skipped " + str(tmp_path)) == 10
    assert "... and 4 more" in lines
    assert "responses by role: chosen: 2, rejected: 2" in lines
    logged = json.loads(json.dumps(dataset.report.as_dict()))
    assert logged["skipped_by_reason"] == dict(source.reasons)
    assert len(logged["sources"][0]["skipped_rows"]) == 14


def test_labels_are_counted(tmp_path):
    rows = [{"prompt": "p", "completion": "c", "label": label} for label in (True, False, True)]
    report = build(write(tmp_path / "a.jsonl", rows), format=Unpaired()).report
    assert (report.roles, report.labels) == (Counter(candidate=3), Counter({"1": 2, "0": 1}))
    assert "labels: 1: 2, 0: 1" in "\n".join(report.lines())


def test_no_usable_row_is_an_error(tmp_path):
    with pytest.raises(UserError, match="None of 2 rows can be used"):
        build(write(tmp_path / "a.jsonl", [pair("p", "")] * 2), on_bad_row="skip")
    with pytest.raises(UserError, match="nothing to read"):
        build()


def test_rows_beyond_max_rows_are_told(tmp_path):
    first, second, third = (pairs(tmp_path / f"{n}.jsonl", "p", "q", "r") for n in range(3))
    dataset = build(first, second, third, max_rows=4)
    assert len(dataset) == 4
    assert [source.unread for source in dataset.report.sources] == [0, 2, 3]
    assert totals(dataset) == {"read": 4, "kept": 4, "comparisons": 4, "unread": 5}
    assert "2 not read (max_rows)" in "\n".join(dataset.report.lines())


def test_each_source_is_parsed_in_its_own_format(tmp_path):
    transcripts = [
        {"chosen": f"\n\nHuman: a\n\nAssistant: {n}", "rejected": "\n\nHuman: a\n\nAssistant: x"} for n in "yz"
    ]
    dataset = build(
        pairs(tmp_path / "a.jsonl", "p"),
        write(tmp_path / "b.jsonl", transcripts),
        format=AutoFormat([TrlPreference(), HhRlhf()]),
    )
    assert [format.name for format in dataset.formats] == ["trl_preference", "hh_rlhf"]
    assert [dataset.comparison(n).prompt for n in range(3)] == ["p"] + ["\n\nHuman: a\n\nAssistant:"] * 2
    assert dataset.feedback == {Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION}


def test_a_row_may_hold_several_comparisons_some_of_them_unusable(tmp_path):
    row = {"prompt": "p", "completions": ["a", "bb", "c" * 40], "scores": [3, 2, 1]}
    tied = {"prompt": "q", "completions": ["a", "b", "c"], "scores": [3, 3, 1]}
    source = write(tmp_path / "a.jsonl", [row, tied])
    dataset = build(source, format=Ranked("all"), modality=Characters(max_response=30), on_bad_row="skip")
    read = [
        (c.row, c.candidate("chosen").response, c.candidate("rejected").response)
        for c in map(dataset.comparison, range(3))
    ]
    assert read == [(0, "a", "bb"), (1, "a", "c"), (1, "b", "c")]
    assert dataset.report.sources[0].left_out == Counter({"no room": 2, "tie": 1})
    assert totals(dataset) == {"read": 2, "kept": 2, "comparisons": 3}
    with pytest.raises(UserError, match=r"1 of 2 rows cannot be used:\n.*row 0, column 'rejected': no room"):
        build(source, format=Ranked("all"), modality=Characters(max_response=30))


def test_rows_left_out_by_an_option_are_skipped_and_no_error(tmp_path):
    rows = [{"prompt": "p", "completions": ["a", "b"], "scores": scores} for scores in ([1, 1], [1, 2], [2, 2])]
    dataset = build(write(tmp_path / "a.jsonl", rows), format=Ranked())
    (source,) = dataset.report.sources
    assert (len(dataset), source.reasons, [row.by_option for row in source.skipped]) == (1, {"tie": 2}, [True, True])
    assert source.skipped[1].message == f"{tmp_path / 'a.jsonl'}, row 2: tie"


def test_a_fault_in_a_format_keeps_its_traceback_and_names_the_row(tmp_path):
    class Faulty(TrlPreference):
        def parse(self, row):
            return [] if row["prompt"] == "p" else row["no such column"]

    with pytest.raises(KeyError) as caught:
        build(pairs(tmp_path / "a.jsonl", "p", "q"), format=Faulty())
    assert caught.value.__notes__ == [f"at {tmp_path / 'a.jsonl'}, row 1"]


def test_a_mismatched_cell_is_the_response_to_the_latest_other_prompt(tmp_path):
    source = pairs(tmp_path / "a.jsonl", "p", "p", "q", "q", "p", "r")
    dataset = build(source, extra_roles=["mismatched"])
    mismatched = [dataset.comparison(n).candidate("mismatched") for n in range(6)]
    assert [candidate.response for candidate in mismatched] == ["a5", "a5", "a1", "a1", "a3", "a4"]
    assert mismatched[0] == Candidate("a5", "mismatched")
    assert dataset.comparison(0).roles == ("chosen", "rejected", "mismatched")
    assert dataset[0].cells[2] == ("p", "a5")
    assert dataset.report.roles["mismatched"] == 6


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_latest_other_prompt_is_the_one_a_search_would_find(prompts):
    others = LatestOther()
    for place, prompt in enumerate(prompts):
        found = others.find(prompt)
        before = [other for other in range(place) if prompts[other] != prompt]
        assert (found and found.place[1]) == (max(before) if before else None)
        others.add(OtherRow(prompt, (0, place, 0), Comparison(None, ())))
        assert others.complete == (len(set(prompts[: place + 1])) > 1)


@given(st.lists(st.sampled_from(["p", "q", "r", ""]), min_size=2, max_size=10))
def test_mismatched_cells_never_share_the_prompt_and_do_not_depend_on_who_asks(tmp_path_factory, prompts):
    rows = [pair(prompt, f"a{n}", "b") if prompt else pair("p", "") for n, prompt in enumerate(prompts)]
    source = write(tmp_path_factory.mktemp("data") / "a.jsonl", rows)
    if len(set(prompts) - {""}) < 2:
        with pytest.raises(UserError, match=r"have the same\." if any(prompts) else "rows cannot be used"):
            build(source, extra_roles=["mismatched"], on_bad_row="skip")
        return
    dataset = build(source, extra_roles=["mismatched"], on_bad_row="skip")
    asked_backwards = [dataset.comparison(n) for n in reversed(range(len(dataset)))][::-1]
    for comparison in asked_backwards:
        other = int(comparison.candidate("mismatched").response[1:])
        assert prompts[other] not in (comparison.prompt, "")
    assert asked_backwards == [dataset[n].comparison for n in range(len(dataset))]


def test_why_there_is_no_other_row_is_told(tmp_path):
    rows = [pair("p", "", "b"), pair("p", "a", "b"), pair("q", "a", 3)]
    with pytest.raises(UserError, match=r"3 of 3 rows cannot be used:\n(.*row \d.*: int 3\n.*\n?){3}"):
        build(write(tmp_path / "a.jsonl", [{**row, "rejected": 3} for row in rows]), extra_roles=["mismatched"])
    with pytest.raises(ConfigError, match=r"(?s)have the same\.\n2 of 3 rows cannot be used:.*row 0.*row 2.*int 3"):
        build(write(tmp_path / "b.jsonl", rows), extra_roles=["mismatched"], on_bad_row="skip")


def test_mismatched_cells_stay_within_their_source(tmp_path):
    chats = [
        {"prompt": [{"role": "user", "content": p}], "completion": [{"role": "assistant", "content": p}], "label": True}
        for p in "xy"
    ]
    texts = [{"prompt": p, "completion": p, "label": True} for p in "pq"]
    dataset = build(
        write(tmp_path / "a.jsonl", texts),
        write(tmp_path / "b.jsonl", chats),
        format=Unpaired(),
        extra_roles=["mismatched"],
    )
    assert [type(dataset.comparison(n).candidate("mismatched").response) for n in range(4)] == [str, str, list, list]


def test_a_mismatched_cell_without_room_makes_its_row_unusable(tmp_path):
    rows = [pair("p", "x" * 10, "y"), pair("q" * 10, "a", "b"), pair("r", "a", "b")]
    source = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match=r"1 of 3 rows cannot be used:\n.*row 1.*no room"):
        build(source, modality=Tight(), extra_roles=["mismatched"])
    assert len(build(source, modality=Tight())) == 3


def test_roles_that_the_modality_announces_are_its_own_to_make(tmp_path):
    dataset = build(pairs(tmp_path / "a.jsonl", "p", "q"), extra_roles=["loud", "mismatched"])
    assert dataset.comparison(1).candidates[2:] == (Candidate("A1", "loud"), Candidate("a0", "mismatched"))
    with pytest.raises(ConfigError, match="role 'lout'") as caught:
        build(pairs(tmp_path / "a.jsonl", "p", "q"), extra_roles=["lout"])
    assert "'loud'" in caught.value.cure


def test_a_modality_gets_another_row_which_differs_in_what_it_says(tmp_path):
    source = pairs(tmp_path / "a.jsonl", "p1", "q1", "r2", "s0", "t2", "u0")
    roles = ["mismatched", "neighbour"]
    dataset = build(source, modality=Neighbours(), extra_roles=roles)
    found = [dataset.comparison(n) for n in range(6)]
    cells = [(c.candidate("neighbour").context, c.candidate("neighbour").response) for c in found]
    assert cells == [("r2", "b2"), ("r2", "b2"), ("q1", "b1"), ("r2", "b2"), ("q1", "b1"), ("t2", "b4")]
    assert [c.candidate("mismatched").response for c in found] == ["a2", "a2", "a1", "a2", "a1", "a4"]
    without = build(source, modality=Neighbours(), extra_roles=[]).comparison(0)
    assert without.roles == ("chosen", "rejected")
    with pytest.raises(ConfigError, match="have the same"):
        build(pairs(tmp_path / "b.jsonl", "p1", "q1", "s0"), modality=Neighbours(), extra_roles=roles)


def test_a_pickled_data_set_reads_the_same(tmp_path):
    dataset = build(pairs(tmp_path / "a.jsonl", "p", "q", "r"), extra_roles=["mismatched"])
    expected = [dataset[n] for n in range(3)]
    copy = pickle.loads(pickle.dumps(dataset))
    assert [copy[n] for n in range(3)] == expected
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(dataset.__getitem__, [0, 1, 2] * 20) == expected * 20


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.integers(0, 25), st.integers(0, 3))
def test_a_hold_out_keeps_prompts_apart_and_depends_on_nothing_else(tmp_path_factory, prompts, rows, seed):
    dataset = build(pairs(tmp_path_factory.mktemp("data") / "a.jsonl", *(f"p{n}" for n in prompts)))
    sizes = Counter(prompts)
    possible = min(sizes.values()) <= rows and len(sizes) > 1 and rows < len(prompts)
    if not possible:
        with pytest.raises(ConfigError):
            split_rows(dataset, rows, seed)
        return
    kept, held_out = split_rows(dataset, rows, seed)
    assert sorted(kept + held_out) == list(range(len(prompts)))
    assert 0 < len(held_out) <= rows
    assert not {prompts[n] for n in kept} & {prompts[n] for n in held_out}
    assert (kept, held_out) == split_rows(dataset, rows, seed)
    assert (kept, held_out) == (sorted(kept), sorted(held_out))


def test_another_seed_holds_others_out_and_the_order_of_the_data_does_not_matter(tmp_path):
    prompts = [f"p{n}" for n in range(200)]
    dataset = build(pairs(tmp_path / "a.jsonl", *prompts))
    turned = build(pairs(tmp_path / "b.jsonl", *reversed(prompts)))
    held_out = [{prompts[n] for n in split_rows(dataset, 50, seed)[1]} for seed in (0, 1)]
    assert len(held_out[0]) == len(held_out[1]) == 50
    assert 2 < len(held_out[0] & held_out[1]) < 30
    assert {prompts[::-1][n] for n in split_rows(turned, 50, 0)[1]} == held_out[0]


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/hh-rlhf beside the repository")
def test_the_real_harmless_split():
    dataset = build(open_rows(REAL), format=AutoFormat(), modality=Characters(max_prompt=1000), on_bad_row="skip")
    (source,) = dataset.report.sources
    assert (source.read, source.kept, source.reasons) == (2312, 2308, {"empty response": 4})
    assert [row.row for row in source.skipped] == [86, 516, 925, 1103]
    long = sum(len(dataset.comparison(n).prompt) > 1000 for n in range(len(dataset)))
    assert source.truncated == long > 0
    kept, held_out = split_rows(dataset, 200, seed=0)
    assert (len(kept), len(held_out)) == (2108, 200)


@pytest.mark.parametrize(("terminal", "rows", "shown"), [(True, 30, True), (True, 20, False), (False, 30, False)])
def test_a_terminal_shows_a_bar_for_many_rows(tmp_path, monkeypatch, terminal, rows, shown):
    class Screen(io.StringIO):
        def isatty(self):
            return terminal

    monkeypatch.setattr("modalign.core.scan.ROWS_WITHOUT_BAR", 20)
    monkeypatch.setattr("sys.stderr", screen := Screen())
    monkeypatch.setenv("TERM", "xterm")
    source = pairs(tmp_path / "a.jsonl", *map(str, range(rows)))
    assert len(build(source)) == rows
    assert ("Reading" in screen.getvalue()) == shown


def test_rows_that_lack_what_the_objective_reads_are_bad_rows(tmp_path):
    rows = write(tmp_path / "pairs.jsonl", [pair("q"), pair("r", rejected="c"), pair("s")])
    dataset = ComparisonDataset([rows], TrlPreference(), Characters(), on_bad_row="skip", check=refuse_rejected_c)
    assert [dataset.comparison(index).row for index in range(len(dataset))] == [0, 2]
    with pytest.raises(UserError, match="row 1: no c is learned from"):
        ComparisonDataset([rows], TrlPreference(), Characters(), check=refuse_rejected_c)
