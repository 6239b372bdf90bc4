"""A task that asks questions from a file of lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modalign import Modality, Ratio, Task


class VowelShare(Task):
    """The share of vowels among the letters of answers.

    Args:
        questions: A text file with a question a line.
        longest: The most tokens of an answer.
    """

    name = "vowel_share"
    modalities = frozenset({"text"})

    def __init__(self, questions: Path, longest: int = 8) -> None:
        self.questions, self.longest = questions, longest

    def items(self, modality: Modality, device: Any) -> Sequence[str]:
        return self.questions.read_text().splitlines()

    def answer(self, modality: Modality, model: Any, items: Sequence[Any]) -> list[Mapping[str, Any]]:
        drawn = modality.sample(model, items, max_new_tokens=self.longest)
        return [{"question": item, "answer": answer} for item, (answer,) in zip(items, drawn, strict=True)]

    def measures(self, rows: Sequence[Any], base: Sequence[Any] | None = None) -> dict[str, Ratio | float]:
        letters = [[letter for letter in row["answer"].lower() if letter.isalpha()] for row in rows]
        vowels = [float(sum(letter in "aeiou" for letter in word)) for word in letters]
        return {"vowels": Ratio(vowels, [float(len(word)) for word in letters])}
