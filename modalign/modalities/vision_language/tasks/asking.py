"""What the tasks share: rows that name images, and greedy answers to questions about them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from modalign.core.errors import ConfigError, RowError, UserError, did_you_mean
from modalign.core.media import Media
from modalign.core.modality import Modality
from modalign.core.sources import open_rows
from modalign.modalities.vision_language.prompts import Message, question


def task_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a file with their numbers; each has a value in each of the columns.

    Raises:
        UserError: The file cannot be read, or is empty.
        RowError: A row cannot be read, or lacks one.
    """
    number = -1
    for number, row in open_rows(path).rows():
        if isinstance(row, RowError):
            raise row
        for column in columns:
            if row.get(column) in (None, ""):
                cure = f"Columns of the row: {', '.join(row)}; {did_you_mean(column, row)}"
                raise RowError("there is no value", cure, column).at(str(path), number)
        yield number, row
    if number < 0:
        raise UserError(f"{path} holds no rows.", "Give one question or image a line.")


def about(image: Any, text: str, folder: Path) -> list[Message]:
    """A question about an image of a folder.

    Raises:
        RowError: The image is not named by its file, or there is no such file.
    """
    if not isinstance(image, str):
        raise RowError(f"the image is {type(image).__name__}, not a file's name", "Write a name.", "image")
    path = (folder / image).absolute()
    if not path.is_file():
        raise RowError(f"there is no file {path}", "Give the folder of the images by --images.", "image")
    return question(text, [Media(str(path))])


def greedy_answers(modality: Modality, model: nn.Module, prompts: Sequence[Any], max_new_tokens: int) -> Sequence[str]:
    """The likeliest answer to each prompt, as text."""
    options = {"temperature": 0, "max_new_tokens": max_new_tokens, "batch_size": len(prompts)}
    return ["".join(message["content"] for message in drawn) for (drawn,) in modality.sample(model, prompts, **options)]


def at_least_one(**values: int) -> None:
    """Refuse counts that are not positive.

    Raises:
        ConfigError: Naming the first.
    """
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}", "Give at least 1.")
