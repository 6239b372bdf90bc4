"""A folder with one or more policies' answers to a task, written as they come and completed when it is cut off."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.core.claims import claim
from modalign.core.figures import Figure, Ratio, difference, figures
from modalign.core.modality import Modality
from modalign.core.response_files import line, mend_rows, read_rows
from modalign.core.task import Row, Task

ROWS = "rows.jsonl"
FIGURES = "figures.json"


@dataclass(frozen=True)
class Question:
    """What is to be measured.

    Attributes:
        task: Asks and measures.
        modality: Of the policies.
        device: Where they run.
        limit: How many items at most.
        source: Which task, models and files, with all their options, as plain values; a folder is only continued by
            the same.
    """

    task: Task
    modality: Modality
    device: torch.device
    limit: int | None = None
    source: Mapping[str, Any] = field(default_factory=dict)


class Evaluation:
    """The folder.

    `rows.jsonl` has a row an item and policy, `figures.json` what they amount to.

    Args:
        folder: New, or one that the same question has begun.
        question: What goes in.

    Raises:
        UserError: Something else is in the folder, or the task's files cannot be read.
        RowError: A row of them cannot be used.
    """

    def __init__(self, folder: Path, question: Question) -> None:
        self.folder = folder
        self.question = question
        self.items = question.task.items(question.modality, question.device)
        self.count = len(self.items) if question.limit is None else min(question.limit, len(self.items))
        claim(folder, {"task": question.task.name, **question.source, "items": self.count}, "answers")
        mend_rows(folder / ROWS)
        self._rows = read_rows(folder / ROWS)

    def missing(self, policy: str) -> list[int]:
        """The numbers of the items that a policy has not answered."""
        done = {row["number"] for row in self._rows if row["policy"] == policy}
        return [number for number in range(self.count) if number not in done]

    @torch.no_grad()
    def add(self, policy: str, model: nn.Module) -> None:
        """Have a policy answer the items it has not answered yet."""
        task, numbers = self.question.task, self.missing(policy)
        model.eval()
        for start in range(0, len(numbers), task.batch_size):
            block = numbers[start : start + task.batch_size]
            answers = task.answer(self.question.modality, model, [self.items[number] for number in block])
            for number, answer in zip(block, answers, strict=True):
                self._write({"policy": policy, "number": number, **answer})

    def rows(self, policy: str) -> list[Row]:
        """A policy's rows, in the order of the items."""
        return sorted((row for row in self._rows if row["policy"] == policy), key=lambda row: int(row["number"]))

    def figures(self, policies: Sequence[str]) -> dict[str, dict[str, Figure]]:
        """The figures of each policy, and what changed from the first to each other one, `POLICY - FIRST`; written too.

        Args:
            policies: All of them have answered; what others are compared to comes first.
        """
        first, *others = policies
        measures: dict[str, Mapping[str, Ratio | float]] = {first: self.question.task.measures(self.rows(first))}
        for policy in others:
            measures[policy] = self.question.task.measures(self.rows(policy), self.rows(first))
        found = {policy: figures(measured) for policy, measured in measures.items()}
        for policy in others:
            found[f"{policy} - {first}"] = {
                name: difference(before, measures[policy][name])
                for name, before in measures[first].items()
                if name in measures[policy]
            }
        plain = {title: {name: asdict(each) for name, each in column.items()} for title, column in found.items()}
        text = json.dumps({"task": self.question.task.name, "items": self.count, "figures": plain}, indent=2)
        (self.folder / FIGURES).write_text(text + "\n", encoding="utf-8")
        return found

    def _write(self, row: Row) -> None:
        text = line(row)
        with (self.folder / ROWS).open("a", encoding="utf-8") as file:
            file.write(text)
        self._rows.append(json.loads(text))  # as a completed folder reads it
