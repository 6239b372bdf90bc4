"""Configuration files of models."""

import json
from pathlib import Path
from typing import Any

from modalign.core.errors import ConfigError


class ConfigFile(dict[str, Any]):
    """The fields of a configuration file; one that is asked for and is not there is an error that names both.

    Args:
        fields: The content, or that of a table in it.
        name: Of the file, for messages.
    """

    def __init__(self, fields: dict[str, Any], name: str) -> None:
        super().__init__(fields)
        self.name = name

    def __missing__(self, field: str) -> Any:
        raise ConfigError(
            f"{self.name} has no field {field!r}, which this kind of model is built from.",
            "Name a complete model, or restore the file as it was saved.",
        )


def read_config(path: Path, name: str) -> ConfigFile:
    """Read a configuration file.

    Args:
        path: Of a file of JSON.
        name: What it is called in messages.

    Raises:
        ConfigError: It holds no table.
        OSError: It cannot be read.
        ValueError: It is no JSON.
    """

    def table(fields: dict[str, Any]) -> ConfigFile:
        return ConfigFile(fields, name)

    content = json.loads(path.read_text(encoding="utf-8"), object_hook=table)
    if not isinstance(content, ConfigFile):
        raise ConfigError(f"{name} holds no table of fields.", "Restore the file as it was saved.")
    return content
