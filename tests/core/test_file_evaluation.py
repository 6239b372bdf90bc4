"""A folder of what a task found in sets of files: completed where it was cut off, closed to other files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from modalign.core.errors import UserError
from modalign.core.figures import Figure, Measure, Ratio
from modalign.core.file_evaluation import FileEvaluation
from modalign.core.response_files import read_rows
from modalign.core.task import FileTask, Row


class Sizes(FileTask):
    """How much longer the files of two sets are than those of a third."""

    name = "sizes"
    batch_size = 2

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[list[str]] = []

    def sets(self) -> Mapping[str, Sequence[Path]]:
        return {name: sorted((self.folder / name).iterdir()) for name in ("short", "middle", "long")}

    def look(self, files: Sequence[Path]) -> list[Row]:
        self.asked.append([path.name for path in files])
        return [{"size": path.stat().st_size} for path in files]

    def measures(self, rows: Mapping[str, Sequence[Row]]) -> Mapping[str, Mapping[str, Measure]]:
        sizes = {name: [row["size"] for row in found] for name, found in rows.items()}
        base = sum(sizes["short"]) / len(sizes["short"])
        return {
            name: {
                "longer": Ratio.mean([size - base for size in sizes[name]]),
                "longest": Figure(max(sizes[name]), 0, 99),
            }
            for name in ("middle", "long")
        }


@pytest.fixture
def task(tmp_path: Path) -> Sizes:
    for name, size in (("short", 1), ("middle", 4), ("long", 9)):
        (tmp_path / "sets" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "sets" / name / f"{number}.txt").write_text("x" * (size + number))
    return Sizes(tmp_path / "sets")


def looked(folder: Path, task: Sizes) -> FileEvaluation:
    evaluation = FileEvaluation(folder, task, {"option": 1})
    for name in evaluation.sets:
        evaluation.add(name)
    return evaluation


def test_sets_are_measured_and_compared(task: Sizes, tmp_path: Path) -> None:
    found = looked(tmp_path / "out", task).figures()
    assert list(found) == ["middle", "long", "long - middle"]
    assert (found["middle"]["longer"].value, found["long"]["longer"].value) == (3, 8)
    assert found["long - middle"]["longer"].value == 5
    assert found["long"]["longest"] == Figure(11, 0, 99)
    assert found["long - middle"]["longest"] == Figure(5)
    written = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert written["task"] == "sizes"
    assert written["figures"]["long"]["longest"] == {"value": 11, "low": 0, "high": 99, "of": None}


def test_what_was_cut_off_is_completed_and_nothing_is_looked_at_twice(task: Sizes, tmp_path: Path) -> None:
    first = looked(tmp_path / "out", task).figures()
    assert task.asked[:2] == [["0.txt", "1.txt"], ["2.txt"]]
    path = tmp_path / "out" / "rows.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 60])
    task.asked.clear()
    again = looked(tmp_path / "out", task)
    assert task.asked == [["1.txt", "2.txt"]]
    assert again.figures() == first
    assert path.read_bytes() == whole
    assert len(read_rows(path)) == 9


def test_other_files_and_options_are_refused(task: Sizes, tmp_path: Path) -> None:
    looked(tmp_path / "out", task)
    with pytest.raises(UserError, match="option: 1 there, 2 now"):
        FileEvaluation(tmp_path / "out", task, {"option": 2})
    (tmp_path / "sets" / "long" / "0.txt").write_text("shorter")
    with pytest.raises(UserError, match="files of long"):
        FileEvaluation(tmp_path / "out", task, {"option": 1})
