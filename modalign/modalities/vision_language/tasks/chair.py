"""CHAIR: objects in descriptions that are not in the image (Rohrbach et al., EMNLP 2018, arXiv 1809.02156)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.core.errors import RowError
from modalign.core.figures import Ratio
from modalign.core.modality import Modality
from modalign.core.task import Row, Task
from modalign.modalities.vision_language.prompts import Message
from modalign.modalities.vision_language.tasks.asking import about, at_least_one, greedy_answers, task_rows
from modalign.modalities.vision_language.tasks.objects import ObjectList, words


@dataclass(frozen=True)
class Scene:
    """One row.

    Attributes:
        number: Of the row in its file.
        image: The file's name.
        objects: The names of those that are there, sorted.
        prompt: The image and the request to describe it.
    """

    number: int
    image: str
    objects: tuple[str, ...]
    prompt: list[Message]


class Chair(Task):
    """Objects that descriptions of images invent, by a list of objects and what is in each image.

    CHAIR_i is the share of mentioned objects that are not in the image, CHAIR_s the share of descriptions with such a
    mention; an object counts as often as it is mentioned. Recall is the share of the objects in the images that are
    mentioned. Nouns are found by the list's words and their plurals, the longest name first.

    Args:
        scenes: Rows with image, objects (a list of those that are there), and a prompt of their own if they have one.
        images: The folder of the images.
        objects: A text file with one object a line: its name, then its synonyms after commas.
        prompt: What is asked where a row has no prompt.
        max_new_tokens: The most tokens of a description.
        batch_size: Images at once.
    """

    name = "chair"
    modalities = frozenset({"vision_language"})

    def __init__(
        self,
        scenes: Path,
        images: Path,
        objects: Path,
        prompt: str = "Please describe this image in detail.",
        max_new_tokens: int = 512,
        batch_size: int = 16,
    ) -> None:
        at_least_one(max_new_tokens=max_new_tokens, batch_size=batch_size)
        self.scenes, self.images, self.objects = scenes, images, objects
        self.prompt = prompt
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size

    @cached_property
    def object_list(self) -> ObjectList:
        """The list, read when it is first used."""
        return ObjectList.read(self.objects)

    def items(self, modality: Modality, device: torch.device) -> Sequence[Scene]:
        """See `Task.items`."""
        return [self._scene(number, row) for number, row in task_rows(self.scenes, ("image", "objects"))]

    def answer(self, modality: Modality, model: nn.Module, items: Sequence[Any]) -> list[Row]:
        """The descriptions, and what is mentioned in them; see `Task.answer`."""
        texts = greedy_answers(modality, model, [item.prompt for item in items], self.max_new_tokens)
        return [self._row(item, text) for item, text in zip(items, texts, strict=True)]

    def measures(self, rows: Sequence[Row], base: Sequence[Row] | None = None) -> dict[str, Ratio | float]:
        """See `Task.measures`."""
        invented = [float(len(row["invented"])) for row in rows]
        found = [float(len(set(row["mentioned"]) & set(row["objects"]))) for row in rows]
        images = [row["image"] for row in rows]
        return {
            "chair_i": Ratio(invented, [float(len(row["mentioned"])) for row in rows], images),
            "chair_s": Ratio.mean([float(each > 0) for each in invented], images),
            "recall": Ratio(found, [float(len(row["objects"])) for row in rows], images),
            "words": Ratio.mean([float(row["words"]) for row in rows], images),
        }

    def _scene(self, number: int, row: Mapping[str, Any]) -> Scene:
        try:
            if not isinstance(row["objects"], list | tuple) or not all(isinstance(o, str) for o in row["objects"]):
                raise RowError(f"it is no list of names: {row['objects']!r}", 'Write ["dog", "cat"].', "objects")
            there = {self.object_list.name(each) for each in row["objects"]}
            prompt = about(row["image"], str(row.get("prompt") or self.prompt), self.images)
            return Scene(number, row["image"], tuple(sorted(there)), prompt)
        except RowError as error:
            raise error.at(str(self.scenes), number) from None

    def _row(self, item: Scene, text: str) -> Row:
        mentioned = self.object_list.mentions(text)
        return {
            "image": item.image,
            "scene": item.number,
            "objects": list(item.objects),
            "answer": text,
            "mentioned": mentioned,
            "invented": [each for each in mentioned if each not in item.objects],
            "words": len(words(text)),
        }
