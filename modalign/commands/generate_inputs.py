"""What `modalign generate` is given beside prompts: sampling options and rewards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError

from modalign.commands.messages import Message, readable
from modalign.commands.parser import ModalignParser
from modalign.commands.parsing import prepare_parsing
from modalign.core.errors import UserError, did_you_mean
from modalign.core.reward import Reward
from modalign.plugins.manager import registry

_BUILT = "built"
"""A key for the parser alone: no message shows it."""


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
    cure = "A reward with options stands in a YAML file: NAME: {class_path: length, init_args: {target: 8}}."
    built = {name: build(Reward, each, f"--rewards {name}", cure) for name, each in described.items()}
    return {name: reward for name, (reward, _) in built.items()}, {name: parsed for name, (_, parsed) in built.items()}


def build(kind: Any, described: Any, option: str, cure: str) -> tuple[Any, Any]:
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
    parser = ModalignParser(exit_on_error=False)
    parser.add_argument(f"--{_BUILT}", type=kind)
    try:
        parsed = parser.parse_object({_BUILT: described})
        return parser.instantiate(parsed)[_BUILT], parsed[_BUILT]
    except (ArgumentError, TypeError, ValueError) as error:
        found = readable(str(error))
        told = Message(found.key.removeprefix(_BUILT).removeprefix("."), found.text)
        raise UserError(f"{option} cannot be built: {told}", cure) from error


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
