"""A folder with what a task found in sets of files, written as it comes and completed when it is cut off."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modalign.core.answer_folder import AnswerFolder
from modalign.core.content import content_hash
from modalign.core.figures import Figure, compared
from modalign.core.task import FileTask


class FileEvaluation:
    """The folder: `rows.jsonl` has a row a file, `figures.json` what they amount to.

    Args:
        folder: New, or one that the same task has begun with the same files.
        task: Looks at files and measures.
        source: The task's options, as plain values; a folder is only continued by the same.

    Raises:
        UserError: Something else is in the folder, or the sets cannot be compared.
    """

    def __init__(self, folder: Path, task: FileTask, source: Mapping[str, Any]) -> None:
        self._task = task
        self.sets = task.sets()
        files = {f"files of {name}": f"{len(paths)}, hash {_states(paths)}" for name, paths in self.sets.items()}
        self._answers = AnswerFolder(folder, {"task": task.name, **source, **files}, "set")

    def missing(self, name: str) -> list[int]:
        """The numbers of a set's files that were not looked at."""
        return self._answers.missing(name, len(self.sets[name]))

    def add(self, name: str) -> None:
        """Look at the files of a set that were not looked at yet."""
        numbers, size = self.missing(name), self._task.batch_size
        for start in range(0, len(numbers), size):
            block = numbers[start : start + size]
            rows = self._task.look([self.sets[name][number] for number in block])
            for number, row in zip(block, rows, strict=True):
                self._answers.add(name, number, row)

    def figures(self) -> dict[str, dict[str, Figure]]:
        """The figures of each set that is measured, and what changed from the first to each other; written too.

        All files must have been looked at.
        """
        found = compared(self._task.measures({name: self._answers.rows(name) for name in self.sets}))
        self._answers.conclude({"task": self._task.name}, found)
        return found


def _states(paths: Sequence[Path]) -> str:
    """A hash of names, sizes and times."""
    states = [(str(path.resolve()), path.stat()) for path in paths]
    return content_hash([[name, state.st_size, state.st_mtime_ns] for name, state in states])
