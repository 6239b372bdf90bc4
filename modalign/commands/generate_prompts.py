"""The prompts that `modalign generate` is given: a line each, or a row each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError, UserError, did_you_mean
from modalign.core.media import files_of, located
from modalign.core.modality import Modality
from modalign.core.sources import open_rows


def read_prompts(path: Path, column: str, limit: int | None, modality: Modality) -> list[Any]:
    """The prompts of a file.

    Args:
        path: Text with a prompt a line, empty ones left out, or anything that training data is read from.
        column: Where the prompts are, unless it is text.
        limit: How many at most.
        modality: Takes what else belongs to a prompt from its row; relative paths there start from the file's folder.

    Raises:
        UserError: The file cannot be read, or holds no prompts.
        RowError: A row has none, or one that is no prompt.
    """
    prompts = _lines(path) if path.suffix == ".txt" else _rows(path, column, limit, modality)
    if not prompts:
        raise UserError(f"{path} holds no prompts", "Write at least one.")
    return prompts[:limit]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # without a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"--prompts: {path} cannot be read: {reason}", "Check the path.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _rows(path: Path, column: str, limit: int | None, modality: Modality) -> list[Any]:
    prompts: list[Any] = []
    folder = (path if path.is_dir() else path.parent).absolute()
    for number, row in open_rows(path).rows():
        if limit is not None and len(prompts) == limit:
            break
        if isinstance(row, RowError):
            raise row
        try:
            _check_filled(row, column)
            prompts.append(located(modality.prompt_of(row, column), folder))
            for file in files_of(prompts[-1]):
                file.open().close()  # so that none is found missing when others have been answered
        except RowError as error:
            raise error.at(str(path), number) from None
    return prompts


def _check_filled(row: Mapping[str, Any], column: str) -> None:
    if column not in row:
        cure = f"Name it by --prompt-column; {did_you_mean(column, list(row))}"
        raise RowError(f"there is no column {column!r}", cure)
    value = row[column].strip() if isinstance(row[column], str) else row[column]
    if not value:
        raise RowError(f"the column {column!r} is empty", "Write a prompt, or remove the row.")
