"""300 and more generated bad rows in every format and kind of file: each is named, with its file, column and cure."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import UserError
from modalign.core.format import Format
from modalign.core.sources import open_rows
from modalign.plugins.formats.columns import ColumnsFormat
from modalign.plugins.formats.demonstration import Demonstration
from modalign.plugins.formats.hh_rlhf import HhRlhf
from modalign.plugins.formats.ranked import Ranked
from modalign.plugins.formats.trl_preference import TrlPreference
from modalign.plugins.formats.unpaired import Unpaired
from tests.characters import Characters

Row = dict[str, Any]
ROWS_A_FILE = 60
LONG = "x" * 301


def ask(n: int) -> list[Row]:
    return [{"role": "user", "content": f"question {n}"}]


def answer(words: str) -> list[Row]:
    return [{"role": "assistant", "content": words}]


def transcript(n: int, words: str) -> str:
    return f"\n\nHuman: question {n}\n\nAssistant: {words}"


GOOD: dict[str, tuple[Format, Callable[[int], Row]]] = {
    "pairs": (
        TrlPreference(weight="weight"),
        lambda n: {"prompt": f"q {n}", "chosen": "a", "rejected": "b", "weight": 1.5},
    ),
    "chats": (TrlPreference(), lambda n: {"prompt": ask(n), "chosen": answer("a"), "rejected": answer("b")}),
    "implicit": (TrlPreference(), lambda n: {"chosen": f"question {n} a", "rejected": f"question {n} b"}),
    "transcripts": (HhRlhf(), lambda n: {"chosen": transcript(n, "a"), "rejected": transcript(n, "b")}),
    "labels": (Unpaired(), lambda n: {"prompt": f"q {n}", "completion": "a", "label": n % 2 == 0}),
    "demonstrations": (Demonstration(), lambda n: {"prompt": f"q {n}", "completion": "a"}),
    "conversations": (Demonstration(), lambda n: {"messages": [*ask(n), *answer("a")]}),
    "ranked": (Ranked(), lambda n: {"prompt": f"q {n}", "completions": ["a", "b"], "scores": [1.0, 2.0]}),
    "named": (
        ColumnsFormat(prompt="question", completion="reply", label="good"),
        lambda n: {"question": f"q {n}", "reply": "a", "good": True},
    ),
}
UNTYPED = {"pairs", "implicit", "transcripts", "labels", "demonstrations", "named"}

CHANGES: dict[str, list[Row]] = {
    "pairs": [{"chosen": ""}, {"rejected": "a"}, {"chosen": LONG}, {"weight": -1.0}, {"rejected": " \n"}],
    "chats": [
        {"chosen": answer("")},
        {"rejected": ask(0)},
        {"chosen": answer("b")},
        {"rejected": [*ask(0), *answer("b")]},
    ],
    "implicit": [{"chosen": "x", "rejected": "x"}, {"chosen": " "}, {"rejected": ""}],
    "transcripts": [
        {"chosen": "hello"},
        {"rejected": transcript(-1, "b")},
        {"rejected": ""},
        {"chosen": "\n\nHuman: a"},
    ],
    "labels": [{"completion": ""}, {"completion": "  "}, {"completion": LONG}],
    "demonstrations": [{"completion": ""}, {"completion": "\t"}, {"completion": LONG}],
    "conversations": [
        {"messages": ask(0)},
        {"messages": []},
        {"messages": answer("a")},
        {"messages": [*ask(0), *ask(1)]},
    ],
    "ranked": [{"completions": ["a"]}, {"scores": [1.0]}, {"completions": ["a", ""]}, {"completions": ["a", "a"]}],
    "named": [{"reply": ""}, {"reply": LONG}],
}
"""What makes a row bad whatever file it is in."""

WRONG_TYPES = [
    None,
    3,
    2.5,
    True,
    [],
    {},
    ["a"],
    [1, 2],
    {"a": 1},
    [{"role": "bot", "content": "a"}],
    [[["a"]]],
    "\ud800",
]
WRONG_LABELS = ["yes", "2", "", "nan", "TRUE!"]


def corrupted(kind: str, suffix: str, good: Row, draw: random.Random) -> Row:
    """A row that is bad in a way that this kind of file can hold."""
    options: list[Callable[[], Row]] = [lambda: {**good, **draw.choice(CHANGES[kind])}]
    label = "label" if kind == "labels" else "good"
    if suffix == ".jsonl":
        # A pair without its prompt is sound: its prompt is implicit then.
        lost = draw.choice([name for name in good if (kind, name) != ("pairs", "prompt")])
        column = draw.choice([name for name in good if name not in ("label", "good", "weight", "scores")])
        options.append(lambda: {name: value for name, value in good.items() if name != lost} or {"x": 1})
        options.append(lambda: {**good, column: draw.choice(WRONG_TYPES)})
        if kind in ("labels", "named"):
            options.append(lambda: {**good, label: draw.choice([None, "true", "false", 2, float("nan"), [], "1"])})
        if kind == "ranked":
            options.append(
                lambda: {**good, "scores": draw.choice([[1.0, float("nan")], [1, "2"], [True, 2], [10**400, 1]])}
            )
    if suffix == ".csv" and kind in ("labels", "named"):
        options.append(lambda: {**good, label: draw.choice(WRONG_LABELS)})
    if suffix == ".parquet":
        options.append(lambda: {**good, draw.choice(list(good)): None})
    return draw.choice(options)()


def write(path: Path, rows: list[Row], columns: list[str]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *([row[column] for column in columns] for row in rows)])
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


CASES = [
    (kind, suffix) for kind in GOOD for suffix in (".jsonl", ".csv", ".parquet") if suffix != ".csv" or kind in UNTYPED
]


@pytest.fixture(params=CASES, ids=lambda case: "".join(case))
def case(request, tmp_path) -> Iterator[tuple[Path, Format, list[int], int]]:
    """A file whose rows are bad in about one of three, its format, the numbers of its bad rows, and how many it has."""
    kind, suffix = request.param
    draw = random.Random(f"{kind}{suffix}")
    format, make = GOOD[kind]
    rows, bad = [], []
    for number in range(ROWS_A_FILE):
        good = make(number)
        row = corrupted(kind, suffix, good, draw) if number % 3 == 1 else good
        bad += [number] * (row is not good)
        rows.append(row)
    path = tmp_path / f"rows{suffix}"
    write(path, rows, list(make(0)))
    return path, format, bad, len(rows)


def test_there_are_at_least_300_bad_rows():
    assert len(CASES) * (ROWS_A_FILE // 3) >= 300


def test_every_bad_row_is_told_with_file_row_column_and_cure(case):
    path, format, bad, _ = case
    modality = Characters(max_response=300)
    report = ComparisonDataset([open_rows(path)], format, modality, on_bad_row="skip").report
    (source,) = report.sources
    assert [row.row for row in source.skipped] == bad
    for row in source.skipped:
        assert row.message.startswith(f"{path}, row {row.row}, column '{row.column}': ")
        assert "\n  -> " in row.message


def test_the_counts_add_up(case):
    path, format, bad, count = case
    dataset = ComparisonDataset([open_rows(path)], format, Characters(max_response=300), on_bad_row="skip")
    (source,) = dataset.report.sources
    assert source.kept + len(source.skipped) == source.read == count
    assert sum(source.reasons.values()) == len(bad)
    assert source.kept == source.comparisons == len(dataset) == count - len(bad)


def test_one_error_lists_the_bad_rows(case):
    path, format, bad, count = case
    with pytest.raises(UserError) as caught:
        ComparisonDataset([open_rows(path)], format, Characters(max_response=300))
    message = str(caught.value)
    assert message.startswith(f"{len(bad)} of {count} rows cannot be used:")
    assert all(f"{path}, row {number}, column" in message for number in bad[:20])
    assert "on_bad_row: skip" in caught.value.cure


def test_lines_that_are_no_rows_are_told_too(tmp_path):
    good = json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}).encode()
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join([good, b"{", b"", b"[1]", b"\xff", good, b"nul", b'{"prompt": "q"} {}', good]))
    report = ComparisonDataset([open_rows(path)], TrlPreference(), Characters(), on_bad_row="skip").report
    assert [row.row for row in report.sources[0].skipped] == [1, 3, 4, 6, 7]
    assert all(row.message.startswith(f"{path}, row {row.row}: ") for row in report.sources[0].skipped)
    assert all("\n  -> " in row.message for row in report.sources[0].skipped)
    assert (report.sources[0].read, report.sources[0].kept) == (8, 3)
