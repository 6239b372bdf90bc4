"""Lightning's argument parser, with errors that name the file, the key and the nearest known one."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from modalign.commands.config_files import ConfigFile
from modalign.commands.messages import Message, nearest, readable
from modalign.core.errors import UserError

_UNKNOWN_OPTION = re.compile(
    r"(?:Subcommand '\w+' does not accept|Group '(?P<group>[\w.]+)' does not accept) option '(?P<key>[^']+)'"
)
_NOT_ACCEPTED = re.compile(r"Option '(?P<key>[^']+)' is not accepted")
_UNRECOGNIZED = re.compile(r"unrecognized arguments: (?P<words>.*)", re.DOTALL)
_REQUIRED = re.compile(r"the following arguments are required: (?P<keys>.*)")


class OptionError(UserError):
    """An option or config key that the parser refuses.

    Attributes:
        key: Which, with dots; empty where none is named.
    """

    def __init__(self, message: str, cure: str = "", key: str = "") -> None:
        super().__init__(message, cure)
        self.key = key


class ModalignParser(LightningArgumentParser):
    """See the module's docstring.

    Args:
        command: Whose options these are.
        files: The config files being parsed, to name the line of a key.
        args: As Lightning's.
        kwargs: As Lightning's.
    """

    def __init__(self, *args: Any, command: str = "fit", files: Sequence[ConfigFile] = (), **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)  # else --trainer.max_step is silently taken for max_steps
        super().__init__(*args, **kwargs)
        self.command = command
        self.files = files

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        found = self._explain(message, ex)
        if not self.exit_on_error:  # the parser of a class within a config; the one around it adds its own key
            prefix = f'Parser key "{found.key}":\n' if found.key else ""
            raise argparse.ArgumentError(None, f"{prefix}{found.text}") from ex
        cure = f"`modalign {self.command} --help` lists every option"
        cure += ", `modalign recipes list` ready configs." if _REQUIRED.search(message) else "."
        raise self.refusal(found, cure) from ex

    def refusal(self, found: Message, cure: str) -> OptionError:
        """The error about a key, with its place in a config file, where it has one."""
        place = next((place for file in self.files if (place := file.place(found.key))), None)
        return OptionError(f"{place}: {found}" if place else str(found), cure, found.key)

    def _explain(self, message: str, ex: Exception | None) -> Message:
        known = self._known(ex)
        if match := _UNKNOWN_OPTION.search(message) or _NOT_ACCEPTED.search(message):
            group = match.groupdict().get("group")
            key = f"{group}.{match['key']}" if group else match["key"]
            return Message(key, f"there is no such option; {nearest(key, known)}")
        if match := _UNRECOGNIZED.search(message):
            return self._unrecognized(match["words"].split(), known)
        if match := _REQUIRED.search(message):
            keys = match["keys"].replace(f"{self.command}.", "")
            return Message("", f"missing: {keys}")
        return readable(message)

    def _unrecognized(self, words: list[str], known: list[str]) -> Message:
        key = words[0].lstrip("-").partition("=")[0]
        if not words[0].startswith("-"):
            return Message("", f"{words[0]!r} belongs to no option")
        return Message(f"--{key}", f"there is no such option; {nearest(key, known)}")

    def _known(self, ex: Exception | None) -> list[str]:
        parser = getattr(ex, "subcommand_parser", None) or self._only_subcommand() or self
        return [action.dest for action in parser._actions if action.dest not in ("help", "config", "print_config")]

    def _only_subcommand(self) -> "ModalignParser | None":
        action = self._subcommands_action
        return next(iter(action._name_parser_map.values())) if action else None
