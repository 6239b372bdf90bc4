"""The contracts of evaluation tasks: what a model is asked, or a file looked at for, and what that amounts to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.core.figures import Figure, Measure, Ratio, figures
from modalign.core.modality import Modality

Row = Mapping[str, Any]
"""What is kept of one answer: plain values that JSON has a form for."""


@dataclass(frozen=True)
class Result:
    """What a task found of one policy.

    Attributes:
        figures: By name.
        rows: One an item.
    """

    figures: Mapping[str, Figure]
    rows: Sequence[Row]


class Measurement(ABC):
    """What `modalign eval` runs: a `Task` asks policies, a `FileTask` looks at files.

    The parameters of the constructor are the options of `modalign eval NAME`; their help is the docstring's. The
    constructor reads no file.

    Attributes:
        name: The short name it is registered under.
        batch_size: Items that are looked at together; their rows are written before the next are.
    """

    name: ClassVar[str]
    batch_size: int = 16


class Task(Measurement):
    """Measures a policy by local files; `items` reads them.

    Attributes:
        modalities: Names of the modalities it measures; empty for any.
    """

    modalities: ClassVar[frozenset[str]] = frozenset()

    def check(self, modality: Modality) -> None:
        """Refuse a modality, before anything is loaded.

        Raises:
            UserError: The task does not measure it.
        """
        if self.modalities and not self.modalities & {modality.name}:
            raise UserError(
                f"The task {self.name!r} measures {' and '.join(sorted(self.modalities))}, not {modality.name!r}.",
                "Choose another task; `modalign eval --help` lists all.",
            )

    @abstractmethod
    def items(self, modality: Modality, device: torch.device) -> Sequence[Any]:
        """What is asked, in order: anything with a length that is read by number.

        Args:
            modality: Of the policies.
            device: Where they will run, for what is to be computed ahead.

        Raises:
            UserError: A file does not exist or holds nothing.
            RowError: A row cannot be used.
        """

    @abstractmethod
    def answer(self, modality: Modality, model: nn.Module, items: Sequence[Any]) -> Sequence[Row]:
        """What a policy makes of some items: a row each.

        Args:
            modality: Samples, or says how likely the policy finds a response.
            model: The policy, in evaluation mode; gradients are off.
            items: At most `batch_size`; an answer must not depend on which others are asked with it.
        """

    @abstractmethod
    def measures(self, rows: Sequence[Row], base: Sequence[Row] | None = None) -> Mapping[str, Ratio | float]:
        """What the rows amount to.

        Args:
            rows: A policy's, one an item, in the order of the items.
            base: Of the model before training, where it was asked too and the policy is another.
        """

    @torch.no_grad()
    def run(self, modality: Modality, model: nn.Module) -> Result:
        """Ask everything and measure; the model is left in evaluation mode."""
        self.check(modality)
        device = next(model.parameters()).device
        model.eval()
        items = self.items(modality, device)
        rows: list[Row] = []
        for start in range(0, len(items), self.batch_size):
            numbers = range(start, min(start + self.batch_size, len(items)))
            rows += self.answer(modality, model, [items[number] for number in numbers])
        return Result(figures(self.measures(rows)), rows)


class FileTask(Measurement):
    """Compares sets of files, whatever made them; no policy is asked."""

    @abstractmethod
    def sets(self) -> Mapping[str, Sequence[Path]]:
        """The files of each set, by the set's name, in order.

        Raises:
            UserError: There are none, or the sets cannot be compared.
        """

    @abstractmethod
    def look(self, files: Sequence[Path]) -> Sequence[Row]:
        """What is kept of some files: a row each.

        Args:
            files: At most `batch_size`; a row must not depend on which others are looked at with it.

        Raises:
            UserError: A file cannot be used, or a model not be loaded.
        """

    @abstractmethod
    def measures(self, rows: Mapping[str, Sequence[Row]]) -> Mapping[str, Mapping[str, Measure]]:
        """What the rows amount to, by the set that is measured, then by name.

        Args:
            rows: Of every set, in the order of its files.
        """
