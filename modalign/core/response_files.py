"""Responses on disk: a JSON Lines row each, with the file beside it where a modality writes one."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modalign.core.content import content_hash
from modalign.core.media import Media
from modalign.core.modality import Modality


def kept_response(modality: Modality, response: Any, stem: Path, root: Path) -> dict[str, Any]:
    """What a row says of a response: `file`, relative to `root`, or where there is no file the `response` itself.

    Args:
        modality: Writes the file.
        response: As `Modality.sample` returns it.
        stem: The file's path without its suffix.
        root: The folder of the file that holds the rows.
    """
    path = modality.save(response, stem)
    return {"response": response} if path is None else {"file": path.relative_to(root).as_posix()}


def response_of(row: Mapping[str, Any], root: Path) -> Any:
    """The response of a row that `kept_response` made, a file's content as `Media`."""
    return Media(str(root / row["file"])) if "file" in row else row["response"]


def line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON; a file of a prompt is named by its path, what else JSON has no form for is a string."""
    return json.dumps(row, default=_plain, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole file of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(map(line, rows)), encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none where it does not exist. A last line that a kill has torn is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(text) for text in lines[:-1]]


def mend_rows(path: Path) -> None:
    """Cut a last line that a kill has torn off a file, so that further rows can be added."""
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


def _plain(value: Any) -> str:
    """The same for the same content, so that rows can be compared."""
    if isinstance(value, Media) and value.path:
        return str(value)
    try:
        return f"{type(value).__name__} {content_hash(value)}"
    except TypeError:
        return str(value)
