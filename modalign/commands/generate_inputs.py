"""What `modalign generate` is given: prompts, sampling options and rewards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from modalign.commands.parsing import prepare_parsing
from modalign.core.errors import RowError, UserError, did_you_mean
from modalign.core.reward import Reward
from modalign.core.sources import open_rows
from modalign.plugins.manager import registry


def read_prompts(path: Path, column: str, limit: int | None) -> list[Any]:
    """The prompts of a file.

    Args:
        path: Text with a prompt a line, empty ones left out, or anything that training data is read from.
        column: Where the prompts are, unless it is text.
        limit: How many at most.

    Raises:
        UserError: The file cannot be read, or holds no prompts.
        RowError: A row has none.
    """
    prompts = _lines(path) if path.suffix == ".txt" else _column(path, column, limit)
    if not prompts:
        raise UserError(f"{path} holds no prompts", "Write at least one.")
    return prompts[:limit]


def named_values(words: Sequence[str], option: str) -> dict[str, Any]:
    """Values by name, from `name=value` words and YAML files; later ones win.

    Raises:
        UserError: A file cannot be read, or is no mapping.
    """
    named: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        named |= {name: _yaml(value, f"{option} {word}")} if equals else _mapping(Path(word), option)
    return named


def rewards(words: Sequence[str]) -> tuple[dict[str, Reward], Any]:
    """Rewards by name, from registered names and YAML files such as `short: {class_path: length, init_args: ...}`.

    Returns:
        The rewards, and their descriptions with every option.

    Raises:
        UserError: There is no such reward, or one cannot be built.
    """
    described: dict[str, Any] = {}
    for word in words:
        if Path(word).suffix in (".yaml", ".yml"):
            described |= _mapping(Path(word), "--rewards")
        elif word in registry().names("reward"):
            described[word] = {"class_path": word}
        else:
            raise UserError(f"no reward is called {word!r}", did_you_mean(word, registry().names("reward")))
    if not described:
        return {}, {}
    cure = "A reward with options stands in a YAML file: NAME: {class_path: length, init_args: {target: 8}}."
    return build(dict[str, Reward], described, "--rewards", cure)


def build(kind: Any, described: Mapping[str, Any], option: str, cure: str) -> tuple[Any, Any]:
    """What class paths and arguments describe, as a config would have it.

    Args:
        kind: Its type.
        described: `class_path` and `init_args`.
        option: Where it was given.
        cure: What to do where it cannot be built.

    Returns:
        What was built, and its description with every option.

    Raises:
        UserError: It cannot be built.
    """
    prepare_parsing()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--described", type=kind)
    try:
        parsed = parser.parse_object({"described": described})
        return parser.instantiate(parsed).described, parsed.described
    except (ArgumentError, TypeError, ValueError) as error:
        raise UserError(f"{option} cannot be built: {error}", cure) from error


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _text(path, "--prompts").splitlines() if line.strip()]


def _column(path: Path, column: str, limit: int | None) -> list[Any]:
    prompts: list[Any] = []
    for number, row in open_rows(path).rows():
        if limit is not None and len(prompts) == limit:
            break
        if isinstance(row, RowError):
            raise row
        if not row.get(column):
            problem = f"the column {column!r} is empty" if column in row else f"there is no column {column!r}"
            raise RowError(
                f"{path}, row {number}: {problem}", f"Name it by --prompt-column; {did_you_mean(column, list(row))}"
            )
        prompts.append(row[column])
    return prompts


def _mapping(path: Path, option: str) -> dict[str, Any]:
    values = _yaml(_text(path, option), str(path))
    if not isinstance(values, Mapping):
        raise UserError(f"{option}: {path} is no mapping of names to values", "Write one `name: value` a line.")
    return dict(values)


def _yaml(text: str, place: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{place} is no YAML: {error}") from error


def _text(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{option}: {path} cannot be read: {reason}", "Check the path.") from error
