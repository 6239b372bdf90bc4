"""A folder of rows and figures: rows are written as they come, and completed where it was cut off."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modalign.core.claims import check_claim, claim
from modalign.core.figures import Figure
from modalign.core.response_files import line, mend_rows, read_rows

ROWS = "rows.jsonl"
FIGURES = "figures.json"


class AnswerFolder:
    """The folder: `rows.jsonl` has a numbered row an item of each group, `figures.json` what they amount to.

    Args:
        folder: New, or one that was begun with the same settings.
        settings: All that decides what goes in.
        column: How rows call their group, such as policy.

    Raises:
        UserError: Something else is in the folder.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], column: str) -> None:
        check_claim(folder, settings, "answers")
        self._folder, self._settings, self._column = folder, settings, column
        mend_rows(folder / ROWS)
        self._rows = read_rows(folder / ROWS)

    def missing(self, group: str, count: int) -> list[int]:
        """The numbers below `count` that a group has no row of."""
        done = {row["number"] for row in self._rows if row[self._column] == group}
        return [number for number in range(count) if number not in done]

    def rows(self, group: str) -> list[Mapping[str, Any]]:
        """A group's rows, in the order of their numbers."""
        return sorted((row for row in self._rows if row[self._column] == group), key=lambda row: int(row["number"]))

    def add(self, group: str, number: int, row: Mapping[str, Any]) -> None:
        """Write a row."""
        if not self._rows:
            claim(self._folder, self._settings, "answers")
        text = line({self._column: group, "number": number, **row})
        with (self._folder / ROWS).open("a", encoding="utf-8") as file:
            file.write(text)
        self._rows.append(json.loads(text))  # as a completed folder reads it

    def conclude(self, about: Mapping[str, Any], figures: Mapping[str, Mapping[str, Figure]]) -> None:
        """Write the figures.

        Args:
            about: What they are of.
            figures: By column, then by name.
        """
        plain = {title: {name: asdict(each) for name, each in column.items()} for title, column in figures.items()}
        text = json.dumps({**about, "figures": plain}, indent=2)
        (self._folder / FIGURES).write_text(text + "\n", encoding="utf-8")
