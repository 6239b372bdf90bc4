"""A look at options and config files that needs no torch, so that a typing error is answered at once."""

from collections.abc import Iterator, Mapping, Sequence
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
_OWN_SETTINGS = {"validate": ("verbose",), "test": ("verbose",), "predict": ("return_predictions",)}
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
    options = list(_options(argv))
    files = tuple(read_config(Path(value)) for name, value in options if name == "config" and value)
    problems = [problem for file in files for problem in file_problems(command, file)]
    for name, value in options:
        problems += _option_problems(command, name, value)
    if problems:
        raise UserError("\n  ".join(problems), f"`modalign {command} --help` lists every option.")
    return files


def file_problems(command: str, file: ConfigFile) -> Iterator[str]:
    """What is wrong with a file's top-level keys and registered names."""
    for key, value in file.values.items():
        name = str(key)
        if name not in top_level(command):
            yield f"{file.place(name)}: unknown key {name!r}; {did_you_mean(name, top_level(command))}"
        elif name in SECTIONS and not isinstance(value, Mapping | None):
            yield f"{file.place(name)}: {name} is a section with keys of its own, not {value!r}"
    for key, kind in SLOTS.items():
        section, _, leaf = key.partition(".")
        content = file.values.get(section)
        problem = _name_problem(kind, content.get(leaf)) if isinstance(content, Mapping) else None
        if problem:
            yield f"{file.place(key)}: {key}: {problem}"


def _option_problems(command: str, name: str, value: str | None) -> Iterator[str]:
    root = name.split(".")[0]
    known = (*top_level(command), *_SPECIAL)
    if root not in known and (near := get_close_matches(root, known, n=1, cutoff=0.6)):
        yield f"unknown option --{name}; did you mean --{name.replace(root, near[0], 1)}?"
    problem = _name_problem(SLOTS[name], value) if name in SLOTS else None
    if problem:
        yield f"--{name}: {problem}"


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


def _options(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Names (without dashes) and values of the options in a command line."""
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "-c" or (word.startswith("--") and len(word) > 2):
            name, equals, value = word.lstrip("-").partition("=")
            if not equals and rest and not rest[0].startswith("--"):
                yield _long(name), rest.pop(0)
            else:
                yield _long(name), value if equals else None


def _long(name: str) -> str:
    return "config" if name == "c" else name.removesuffix("+")
