"""A look at options and config files that needs no torch, so that a typing error is answered at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from modalign.commands.config_files import ConfigFile, read_config
from modalign.core.errors import UserError, did_you_mean
from modalign.plugins.manager import registry

SECTIONS = {
    "model": "modality, objective, reference, optimiser and schedule",
    "data": "files, format and batches",
    "trainer": "Lightning's trainer: steps, devices, precision, callbacks",
    "checkpoint": "how often to save, and how many to keep",
    "export": "where the trained model goes",
}
"""The parts of a run's config and what they hold; one config serves `fit` and its siblings."""

SETTINGS = ("seed_everything", "ckpt_path", "weights_only")
_OWN_SETTINGS = {"validate": ("verbose",), "test": ("verbose",)}
_SPECIAL = ("config", "print_config", "help")
SLOTS = {
    "model.modality": "modality",
    "model.objective": "objective",
    "model.reference": "reference",
    "data.format": "format",
}
"""Config keys that hold a registered name, and its kind."""


def top_level(command: str) -> tuple[str, ...]:
    """The keys a config of this command may have at its top."""
    return (*SECTIONS, *SETTINGS, *_OWN_SETTINGS.get(command, ()))


@dataclass(frozen=True)
class Problem:
    """Something wrong with an option or a key.

    Attributes:
        key: Which, with dots.
        text: What, and where.
    """

    key: str
    text: str


def precheck(command: str, argv: Sequence[str]) -> tuple[ConfigFile, ...]:
    """Check what can be checked without importing torch.

    Args:
        command: `fit` or one of its siblings.
        argv: Its options.

    Returns:
        The config files that `argv` names.

    Raises:
        UserError: Listing everything that was found wrong.
    """
    files = config_files(argv)
    problems = [problem.text for problem in find_problems(command, argv, files)]
    if problems:
        raise UserError("\n  ".join(problems), f"`modalign {command} --help` lists every option.")
    return files


def config_files(argv: Sequence[str]) -> tuple[ConfigFile, ...]:
    """Read the config files that a command line names.

    Raises:
        UserError: One of them cannot be read.
    """
    return tuple(read_config(Path(value)) for name, value in options_of(argv) if name == "config" and value)


def find_problems(command: str, argv: Sequence[str], files: Sequence[ConfigFile]) -> Iterator[Problem]:
    """What is wrong with top-level keys and registered names, in files and on the command line."""
    for file in files:
        yield from _file_problems(command, file)
    for name, value in options_of(argv):
        yield from _option_problems(command, name, value)


def _file_problems(command: str, file: ConfigFile) -> Iterator[Problem]:
    for key, value in file.values.items():
        name = str(key)
        if name not in top_level(command):
            near = did_you_mean(name, top_level(command))
            yield Problem(name, f"{file.place(name)}: unknown key {name!r}; {near}")
        elif name in SECTIONS and not isinstance(value, Mapping | None):
            yield Problem(name, f"{file.place(name)}: {name} is a section with keys of its own, not {value!r}")
    for key, kind in SLOTS.items():
        section, _, leaf = key.partition(".")
        content = file.values.get(section)
        wrong = _name_problem(kind, content.get(leaf)) if isinstance(content, Mapping) else None
        if wrong:
            yield Problem(key, f"{file.place(key)}: {key}: {wrong}")


def _option_problems(command: str, name: str, value: str | None) -> Iterator[Problem]:
    name = name.removesuffix("+")
    root = name.split(".")[0]
    known = (*top_level(command), *_SPECIAL)
    if root not in known and (near := get_close_matches(root, known, n=1, cutoff=0.6)):
        yield Problem(name, f"unknown option --{name}; did you mean --{name.replace(root, near[0], 1)}?")
    wrong = _name_problem(SLOTS[name], value) if name in SLOTS else None
    if wrong:
        yield Problem(name, f"--{name}: {wrong}")


def _name_problem(kind: str, value: Any) -> str | None:
    """What is wrong with a registered name; class paths, class names and files are left to the parser."""
    name = value.get("class_path") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or not name.islower() or any(mark in name for mark in "./{") or name == "null":
        return None
    if name in registry().names(kind):
        return None
    try:
        registry().entry(kind, name)
    except UserError as error:
        return f"{error.message} ({error.cure})" if error.cure else error.message
    return None


def options_of(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Names and values of the options in a command line; a word that belongs to none has the name "".

    A name is without its dashes; it ends in "+" where the value is appended.
    """
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word != "-c" and not word.startswith("--"):
            yield "", word
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals and rest and not rest[0].startswith("--"):
            value, equals = rest.pop(0), "="
        yield "config" if name == "c" else name, value if equals else None
