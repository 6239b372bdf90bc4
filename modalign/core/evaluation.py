"""A folder with one or more policies' answers to a task, written as they come and completed when it is cut off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.core.answer_folder import AnswerFolder
from modalign.core.figures import Figure, Measure, compared
from modalign.core.modality import Modality
from modalign.core.task import Row, Task


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
        settings = {"task": question.task.name, **question.source, "items": self.count}
        self._answers = AnswerFolder(folder, settings, "policy")

    def missing(self, policy: str) -> list[int]:
        """The numbers of the items that a policy has not answered."""
        return self._answers.missing(policy, self.count)

    @torch.no_grad()
    def add(self, policy: str, model: nn.Module) -> None:
        """Have a policy answer the items it has not answered yet."""
        task, numbers = self.question.task, self.missing(policy)
        model.eval()
        for start in range(0, len(numbers), task.batch_size):
            block = numbers[start : start + task.batch_size]
            answers = task.answer(self.question.modality, model, [self.items[number] for number in block])
            for number, answer in zip(block, answers, strict=True):
                self._answers.add(policy, number, answer)

    def rows(self, policy: str) -> list[Row]:
        """A policy's rows, in the order of the items."""
        return self._answers.rows(policy)

    def figures(self, policies: Sequence[str]) -> dict[str, dict[str, Figure]]:
        """The figures of each policy, and what changed from the first to each other one, `POLICY - FIRST`; written too.

        Args:
            policies: All of them have answered; what others are compared to comes first.
        """
        first, *others = policies
        task = self.question.task
        measures: dict[str, Mapping[str, Measure]] = {first: task.measures(self.rows(first))}
        for policy in others:
            measures[policy] = task.measures(self.rows(policy), self.rows(first))
        found = compared(measures)
        self._answers.conclude({"task": task.name, "items": self.count}, found)
        return found
