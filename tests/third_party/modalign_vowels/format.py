"""Rows of a question, two answers and a letter."""

from collections.abc import Mapping
from typing import Any

from modalign import Candidate, Comparison, Format
from modalign.core.errors import RowError


class TwoAnswers(Format):
    """`question`, `a`, `b` and `better`, which is "a" or "b"."""

    name = "two_answers"
    wants = "question, a, b and better"

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return {"question", "a", "b", "better"} <= columns.keys()

    def parse(self, row: Mapping[str, Any]) -> list[Comparison]:
        better = row["better"]
        if better not in ("a", "b"):
            raise RowError(f"better is {better!r}", 'Write "a" or "b".', column="better")
        worse = "b" if better == "a" else "a"
        return [Comparison(row["question"], (Candidate(row[better], "chosen"), Candidate(row[worse], "rejected")))]
