"""Every problem of a config at once, where a parser stops at the first."""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modalign.commands.config_files import ConfigFile, plain_key
from modalign.commands.lightning_cli import ModalignCLI
from modalign.commands.parser import OptionError
from modalign.commands.precheck import find_problems, options_of
from modalign.core.errors import UserError


@dataclass
class ParsedConfig:
    """What became of a config.

    Attributes:
        cli: The parsed options; None where they cannot be parsed even without what is wrong.
        problems: Everything found wrong.
    """

    cli: ModalignCLI | None
    problems: list[str] = field(default_factory=list)


def parse_all(argv: Sequence[str], files: Sequence[ConfigFile]) -> ParsedConfig:
    """Parse the options of `fit`; after each problem parse again without the key at fault."""
    source = _Source(argv, files)
    problems = []
    for problem in find_problems("fit", argv, files):
        problems.append(problem.text)
        source.remove(problem.key)
    while True:
        try:
            return ParsedConfig(ModalignCLI("fit", source.arguments(), files, build=False), problems)
        except OptionError as error:
            if not source.explains(error):
                problems.append(error.message)
            if not source.remove(error.key):
                return ParsedConfig(None, problems)
        except UserError as error:
            return ParsedConfig(None, [*problems, str(error)])


class _Source:
    """A command line and its files, from which keys can be taken out."""

    def __init__(self, argv: Sequence[str], files: Sequence[ConfigFile]) -> None:
        self._options = [(name, value) for name, value in options_of(argv) if name != "config"]
        self._values: list[dict[str, Any]] = [copy.deepcopy(file.values) for file in files]
        self._removed: list[str] = []

    def arguments(self) -> list[str]:
        words = [word for values in self._values for word in ("--config", json.dumps(values, default=str))]
        for name, value in self._options:
            option = f"--{name}" if value is None else f"--{name}={value}"
            words.append(option if name else str(value))
        return words

    def remove(self, key: str) -> bool:
        """Take a key and what is within it out, wherever it is given; False where it is nowhere."""
        key = plain_key(key.lstrip("-"))
        within = f"{key}."
        kept = [(n, value) for n, value in self._options if not f"{plain_key(n.removesuffix('+'))}.".startswith(within)]
        found = len(kept) < len(self._options)
        self._options = kept
        for values in self._values:
            found = _take(values, key.split(".")) or found
        if found:
            self._removed.append(key)
        return found and bool(key)

    def explains(self, error: OptionError) -> bool:
        """Whether something is missing only because it was taken out."""
        missing = error.message.partition("missing: ")[2].split(", ")
        return missing != [""] and all(any(key.startswith(m) for key in self._removed) for m in missing)


def _take(values: Any, path: list[str], top: bool = True) -> bool:
    """Delete a key from nested mappings; `init_args` and the names in a dict of objects may be left out of its path."""
    if not isinstance(values, dict):
        return False
    if path[0] in values:
        if len(path) == 1:
            del values[path[0]]
            return True
        return _take(values[path[0]], path[1:], top=False)
    return not top and any(_take(inner, path, top=False) for inner in values.values())
