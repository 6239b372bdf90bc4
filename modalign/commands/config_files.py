"""Config files as written: their values, and the line on which each key stands, for messages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modalign.core.errors import UserError, did_you_mean


@dataclass(frozen=True)
class ConfigFile:
    """One YAML file.

    Attributes:
        path: As the user gave it.
        values: What it holds.
        lines: For each key, written with dots, the line (from 1) on which it stands.
    """

    path: Path
    values: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)

    def place(self, key: str) -> str | None:
        """`file, line N` of a key; None where the file does not hold it.

        Args:
            key: With dots; `init_args` and `class_path` may be left out of it.
        """
        wanted = plain_key(key)
        section, _, leaf = wanted.rpartition(".")
        lines = {plain_key(written): line for written, line in reversed(self.lines.items())}
        # Within a dict of objects the parser does not say in which; a key that stands there once is clear.
        within = [line for k, line in lines.items() if k.startswith(f"{section}.") and k.endswith(f".{leaf}")]
        line = lines.get(wanted) or (within[0] if len(within) == 1 else None)
        return f"{self.path}, line {line}" if line else None


def read_config(path: Path) -> ConfigFile:
    """Read a config and where its keys stand.

    Raises:
        UserError: The file is missing or unreadable, is no YAML mapping, or gives a key twice.
    """
    text = _read(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise UserError(f"{place}: this is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}: a config is a mapping with sections such as model: and data:, not {_kind(values)}")
    lines: dict[str, int] = {}
    for key, line in _walk(node, ""):
        if key in lines:
            raise UserError(
                f"{path}, line {line}: the key {key!r} is given a second time (first on line {lines[key]})",
                "YAML would keep only the last of them; keep one.",
            )
        lines[key] = line
    return ConfigFile(path, values, lines)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no config file {path}", _nearby(path)) from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not a config file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} in {Path.cwd()}. `modalign recipes list` shows ready configs."
    others = [other.name for other in path.parent.iterdir() if other.suffix in (".yaml", ".yml", ".json")]
    if not others:
        return f"There is no config in {path.parent.resolve()}. `modalign recipes list` shows ready ones."
    return f"In {path.parent.resolve()}: {did_you_mean(path.name, others)}"


def _walk(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, int]]:
    """Every key of a mapping and of the mappings in it, with its line; a merge (`<<`) may be overridden."""
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = f"{prefix}{key_node.value}"
        yield key, key_node.start_mark.line + 1
        if isinstance(value_node, yaml.MappingNode):
            yield from _walk(value_node, f"{key}.")
        elif isinstance(value_node, yaml.SequenceNode):
            for number, item in enumerate(value_node.value):
                if isinstance(item, yaml.MappingNode):
                    yield from _walk(item, f"{key}.{number}.")


def plain_key(key: str) -> str:
    """A key without the levels that options leave out."""
    return ".".join(part for part in key.split(".") if part not in ("init_args", "class_path"))


def _kind(values: object) -> str:
    return "empty" if values is None else f"a {type(values).__name__}"
