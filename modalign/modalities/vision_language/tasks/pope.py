"""POPE: yes/no questions about whether an object is in an image (Li et al., EMNLP 2023, arXiv 2305.10355)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.figures import Ratio
from modalign.core.modality import Modality
from modalign.core.scoring import role_likelihoods
from modalign.core.task import Row, Task
from modalign.modalities.vision_language.prompts import Message, answer
from modalign.modalities.vision_language.tasks.asking import about, at_least_one, greedy_answers, task_rows

YES, NO, UNCLEAR = "yes", "no", "unclear"
_COLUMNS = ("image", "text", "label")
_YES = re.compile(r"\b(yes|yeah)\b", re.IGNORECASE)


@dataclass(frozen=True)
class PopeQuestion:
    """One row.

    Attributes:
        number: Of the row in its file.
        image: The file's name.
        label: `yes` or `no`.
        prompt: The image and the question.
    """

    number: int
    image: str
    label: str
    prompt: list[Message]


class Pope(Task):
    """Yes/no questions on objects in images: accuracy, precision, recall, F1 and the share of yes.

    An answer is read as POPE's released script reads it: no where its first sentence has one of the words "No", "no"
    and "not". That script takes everything else for a yes; here an answer without the word yes is unclear: it counts
    as wrong, as no yes, and the share of such answers is told.

    Args:
        questions: Rows with image, text and label (yes or no), as POPE publishes them.
        images: The folder of the images.
        instruction: Text for the end of every question, such as "Please answer yes or no."
        by: Whether the model answers, or the log-probabilities of the answers Yes and No are compared.
        unclear: What an answer without yes or no counts as: apart, or yes as in the released script.
        max_new_tokens: The most tokens of an answer.
        batch_size: Questions at once.
    """

    name = "pope"
    modalities = frozenset({"vision_language"})

    def __init__(
        self,
        questions: Path,
        images: Path,
        instruction: str = "",
        by: Literal["answer", "logps"] = "answer",
        unclear: Literal["apart", "yes"] = "apart",
        max_new_tokens: int = 32,
        batch_size: int = 16,
    ) -> None:
        at_least_one(max_new_tokens=max_new_tokens, batch_size=batch_size)
        self.questions, self.images = questions, images
        self.instruction = instruction
        self.by, self.unclear = by, unclear
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size

    def items(self, modality: Modality, device: torch.device) -> Sequence[PopeQuestion]:
        """See `Task.items`."""
        return [self._question(number, row) for number, row in task_rows(self.questions, _COLUMNS)]

    def answer(self, modality: Modality, model: nn.Module, items: Sequence[Any]) -> list[Row]:
        """The answers, and what they are read as; see `Task.answer`."""
        said = self._compared if self.by == "logps" else self._sampled
        return [
            {"image": item.image, "question": item.number, "label": item.label, **found}
            for item, found in zip(items, said(modality, model, items), strict=True)
        ]

    def measures(self, rows: Sequence[Row], base: Sequence[Row] | None = None) -> dict[str, Ratio | float]:
        """POPE's figures, drawn by image for their intervals, and the counts; see `Task.measures`."""
        images = [row["image"] for row in rows]
        said_yes = [float(row["said"] == YES) for row in rows]
        is_yes = [float(row["label"] == YES) for row in rows]
        true_yes = [said * label for said, label in zip(said_yes, is_yes, strict=True)]
        correct = [float(row["said"] == row["label"]) for row in rows]
        counts = {
            f"said {said}, is {label}": sum(row["said"] == said and row["label"] == label for row in rows)
            for said in (YES, NO, UNCLEAR)
            for label in (YES, NO)
        }
        return {
            "accuracy": Ratio.mean(correct, images),
            "precision": Ratio(true_yes, said_yes, images),
            "recall": Ratio(true_yes, is_yes, images),
            "f1": Ratio(
                [2 * each for each in true_yes], [a + b for a, b in zip(said_yes, is_yes, strict=True)], images
            ),
            "yes ratio": Ratio.mean(said_yes, images),
            "unclear": Ratio.mean([float(row["said"] == UNCLEAR) for row in rows], images),
            **counts,
        }

    def _question(self, number: int, row: Mapping[str, Any]) -> PopeQuestion:
        label = str(row["label"]).strip().lower()
        text = " ".join(part for part in (str(row["text"]), self.instruction) if part)
        try:
            if label not in (YES, NO):
                raise RowError(f"the label is {row['label']!r}", "Write yes or no.", "label")
            return PopeQuestion(number, row["image"], label, about(row["image"], text, self.images))
        except RowError as error:
            raise error.at(str(self.questions), number) from None

    def _sampled(self, modality: Modality, model: nn.Module, items: Sequence[PopeQuestion]) -> list[Row]:
        answers = greedy_answers(modality, model, [item.prompt for item in items], self.max_new_tokens)
        return [{"answer": text, "said": read_answer(text, self.unclear)} for text in answers]

    def _compared(self, modality: Modality, model: nn.Module, items: Sequence[PopeQuestion]) -> list[Row]:
        """Equal log-probabilities are unclear."""
        candidates = (Candidate(answer("Yes"), CHOSEN), Candidate(answer("No"), REJECTED))
        examples = [modality.encode(Comparison(item.prompt, candidates)) for item in items]
        found = role_likelihoods(modality, model, examples, [item.number for item in items])
        pairs = [(each[CHOSEN][0], each[REJECTED][0]) for each in found]
        return [
            {"logps": {YES: yes, NO: no}, "said": UNCLEAR if yes == no else YES if yes > no else NO}
            for yes, no in pairs
        ]


def read_answer(text: str, unclear: str = "apart") -> str:
    """Whether an answer says `yes` or `no`, or is `unclear`.

    Args:
        text: The answer.
        unclear: `yes` to take whatever is not a no for a yes.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    if not {"No", "not", "no"}.isdisjoint(words):
        return NO
    return YES if unclear == YES or _YES.search(text) else UNCLEAR
