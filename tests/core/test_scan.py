"""The first look at the data by several threads: what it finds, and in which order, is what one thread finds."""

import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import Comparison, Example
from modalign.core.errors import UserError
from modalign.core.scan import Scan
from modalign.plugins.formats.ranked import Ranked
from modalign.plugins.formats.trl_preference import TrlPreference
from tests.characters import Characters
from tests.core.test_dataset import Tight, build, pair, totals, write


class Threaded(Tight):
    """Takes longer for some rows than for others, so that threads finish in another order."""

    encodes_in_threads = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: set[int] = set()
        self.waits = True

    def encode(self, comparison: Comparison) -> Example:
        self.seen.add(threading.get_ident())
        if self.waits:
            time.sleep(Random(comparison.row).random() / 500)
        if comparison.candidates[0].response == "fault":
            raise ZeroDivisionError("a fault")
        return super().encode(comparison)


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modalign.core.scan.cores", lambda: 4)


def found(scan: Scan) -> list[Any]:
    places = [[store[n] for n in range(len(store))] for store in (scan.places, scan.others)]
    return [*places, list(scan.prompts), scan.errors, scan.report.as_dict(), list(scan.report.lines())]


def scanned(source: Any, modality: Characters, roles: list[str], format: Any = None) -> list[Any]:
    scan = Scan([source], [format or TrlPreference()], modality, roles)
    scan.run()
    return found(scan)


rows = st.lists(
    st.sampled_from(["", "{", *(pair(p, c) for p in "pq" for c in ("", "a", "bb", "x" * 10)), pair("q" * 9, "cc")]),
    max_size=25,
)


@settings(deadline=None, max_examples=25)
@given(rows=rows, mismatched=st.booleans())
def test_threads_find_what_one_thread_finds(tmp_path_factory: Any, rows: list[Any], mismatched: bool) -> None:
    rows = [*rows, pair("p", "a"), pair("r", "c")]
    source, roles = write(tmp_path_factory.mktemp("data") / "a.jsonl", rows), ["mismatched"] * mismatched
    threaded = Threaded()
    assert scanned(source, threaded, roles) == scanned(source, Tight(), roles)


def test_rows_of_several_comparisons(tmp_path: Path) -> None:
    draw = Random(1)
    lines = [
        {"prompt": f"p{n % 3}", "completions": ["a", "bb", "c" * draw.randint(3, 14)], "scores": [3, 2, 1]}
        for n in range(40)
    ]
    source, threaded = write(tmp_path / "a.jsonl", lines), Threaded()
    for roles in ([], ["mismatched"], ["loud", "mismatched"]):
        assert scanned(source, threaded, roles, Ranked("all")) == scanned(source, Tight(), roles, Ranked("all"))
    assert len(threaded.seen - {threading.get_ident()}) > 1, "it was to be threads"


def test_the_refusal_is_the_same(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [pair("p", "a"), *[pair("p", "x" * 20), "{", pair("q")] * 12])
    messages = []
    for modality in (Threaded(), Tight()):
        with pytest.raises(UserError) as caught:
            build(source, modality=modality)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith("24 of 37 rows cannot be used:")


def test_the_first_fault_is_raised_and_names_its_row(tmp_path: Path) -> None:
    class Faulty(TrlPreference):
        def parse(self, row: Any) -> list[Comparison]:
            return row["no such column"] if row["prompt"] == "z" else super().parse(row)

    source = write(tmp_path / "a.jsonl", [*[pair("p")] * 5, pair("p", "fault"), pair("z"), pair("p", "fault")])
    with pytest.raises(ZeroDivisionError) as caught:
        build(source, modality=Threaded(), format=Faulty())
    assert caught.value.__notes__ == [f"at {tmp_path / 'a.jsonl'}, row 5"]


def test_few_rows_wait(tmp_path: Path) -> None:
    class Read(list[Any]):
        """Rows that note how far they are read."""

        name, furthest = "rows", 0

        def place(self, index: int) -> tuple[str, int]:
            return self.name, index

        def __getitem__(self, index: Any) -> Any:
            self.furthest = max(self.furthest, index)
            return super().__getitem__(index)

    source = Read(pair(f"p{n}") for n in range(200))
    ahead = []

    class Counting(Scan):
        def _count(self, row: Any, place: Any, report: Any) -> None:
            ahead.append(source.furthest - place[1])
            super()._count(row, place, report)

    Counting([source], [TrlPreference()], Threaded()).run()  # type: ignore[list-item]
    assert len(ahead) == 200
    assert 4 < max(ahead) <= 2 * 4 + 1


def test_a_comparison_that_is_refused_only_with_a_neighbour_that_is_not_used_is_kept(tmp_path: Path) -> None:
    long = pair("q" * 9, "x" * 9)  # has no room, and would leave none as a mismatched cell
    source = write(tmp_path / "a.jsonl", [pair("p", "a"), long, pair("rrrr", "d"), pair("s", "c")])
    dataset = build(source, modality=Threaded(), extra_roles=["mismatched"], on_bad_row="skip")
    assert totals(dataset) == totals(build(source, modality=Tight(), extra_roles=["mismatched"], on_bad_row="skip"))
    assert [dataset.comparison(n).candidate("mismatched").response for n in range(3)] == ["d", "a", "d"]
