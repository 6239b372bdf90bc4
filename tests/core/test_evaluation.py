"""A folder of answers to a task: completed where it was cut off, closed to other questions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.core.evaluation import Evaluation, Question
from modalign.core.figures import Figure, Ratio
from modalign.core.modality import Modality
from modalign.core.task import Row, Task
from tests.toy import Letters


class Biases(Task):
    """Whether the first bias of the head is above each of some numbers."""

    name = "biases"
    modalities = frozenset({"letters"})
    batch_size = 2

    def __init__(self, numbers: Sequence[float] = (0.0, 1.0, 2.0, 3.0, 4.0)) -> None:
        self.numbers = numbers
        self.asked: list[list[float]] = []

    def items(self, modality: Modality, device: torch.device) -> Sequence[float]:
        return self.numbers

    def answer(self, modality: Modality, model: nn.Module, items: Sequence[Any]) -> list[Row]:
        assert not model.training
        assert not torch.is_grad_enabled()
        self.asked.append(list(items))
        bias = float(model.head.bias[0])
        return [{"number asked": item, "above": bias > item} for item in items]

    def measures(self, rows: Sequence[Row], base: Sequence[Row] | None = None) -> Mapping[str, Ratio | float]:
        found: dict[str, Ratio | float] = {
            "above": Ratio.mean([float(row["above"]) for row in rows]),
            "rows": len(rows),
        }
        return found if base is None else {**found, "more than base": sum(row["above"] for row in rows)}


class Other(Letters):
    name = "other"


def policy(bias: float) -> nn.Module:
    model = Letters().load()
    model.head.bias.data[0] = bias
    return model


def question(task: Task, **options: Any) -> Question:
    return Question(task, Letters(), torch.device("cpu"), **options)


def test_policies_are_asked_and_compared(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path / "out", question(Biases()))
    evaluation.add("base", policy(1.5))
    evaluation.add("aligned", policy(3.5))
    found = evaluation.figures(["base", "aligned"])
    assert found["base"]["above"].value == 0.4
    assert found["aligned"]["above"].value == 0.8
    assert found["aligned"]["more than base"] == Figure(4.0)
    assert found["aligned - base"].keys() == {"above", "rows"}
    assert found["aligned - base"]["above"].value == pytest.approx(0.4)
    written = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert (written["task"], written["items"]) == ("biases", 5)
    assert written["figures"]["base"]["above"]["value"] == 0.4
    assert written["figures"]["base"]["above"]["of"] == 5


def test_what_was_cut_off_is_completed_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path / "out", question(Biases()))
    evaluation.add("base", policy(1.5))
    expected = evaluation.figures(["base"])
    path = tmp_path / "out" / "rows.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"\n".join(whole.split(b"\n")[:3]) + b'\n{"policy": "ba')
    task = Biases()
    again = Evaluation(tmp_path / "out", question(task))
    assert again.missing("base") == [3, 4]
    again.add("base", policy(1.5))
    assert task.asked == [[3.0, 4.0]]
    assert path.read_bytes() == whole
    assert again.figures(["base"]) == expected


def test_another_question_is_refused(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path / "out", question(Biases(), source={"options": {"x": 1}}))
    assert not (tmp_path / "out").exists(), "nothing is answered yet"
    evaluation.add("base", policy(0.5))
    with pytest.raises(UserError, match=r"holds other answers:\n  options: \{'x': 1\} there, \{'x': 2\} now"):
        Evaluation(tmp_path / "out", question(Biases(), source={"options": {"x": 2}}))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UserError, match="holds no answers"):
        Evaluation(tmp_path / "other", question(Biases()))


def test_only_the_first_items(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path / "out", question(Biases(), limit=2))
    evaluation.add("base", policy(0.5))
    assert [row["number asked"] for row in evaluation.rows("base")] == [0.0, 1.0]
    assert evaluation.figures(["base"])["base"]["above"].value == 0.5
    assert Evaluation(tmp_path / "more", question(Biases(), limit=9)).count == 5


def test_a_task_runs_without_a_folder() -> None:
    task = Biases()
    result = task.run(Letters(), policy(2.5))
    assert result.figures["above"].value == 0.6
    assert [row["above"] for row in result.rows] == [True, True, True, False, False]
    assert task.asked == [[0.0, 1.0], [2.0, 3.0], [4.0]]
    with pytest.raises(UserError, match="'biases' measures letters, not 'other'"):
        task.run(Other(), policy(2.5))
