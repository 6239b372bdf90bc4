"""A task's own options on the command line: the parameters of its constructor, with the help of its docstring."""

import argparse
import json
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any, get_origin

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from modalign.commands.generate_identity import files_identity, plain
from modalign.commands.messages import readable
from modalign.commands.parsing import prepare_parsing
from modalign.core.errors import UserError
from modalign.core.task import Measurement
from modalign.plugins.command_parser import CommandParser

_PREFIX = "task_"


def add_task_options(parser: CommandParser, task: type[Measurement]) -> None:
    """An option for each parameter of a task.

    Raises:
        UserError: One is called as an option that every task has.
    """
    group = parser.add_argument_group(f"options of {task.name}")
    described = _described(task)
    for parameter in _parameters(task):
        required = parameter.default is Parameter.empty
        default = "" if required else f" (default: {parameter.default if parameter.default != '' else 'none'})"
        try:
            group.add_argument(
                _flag(parameter.name),
                dest=_PREFIX + parameter.name,
                metavar="VALUE",
                required=required,
                nargs="+" if _takes_several(parameter) else None,
                help=(described.get(parameter.name, "") + default).replace("%", "%%"),
            )
        except argparse.ArgumentError as error:
            raise UserError(
                f"the task {task.name!r} has an option {_flag(parameter.name)}, which `modalign eval` has itself",
                "Its author must give the parameter another name.",
            ) from error


def build_task(task: type[Measurement], options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The task with the options that were given.

    Returns:
        The task, and all its options by name, with what tells the content of the files among them.

    Raises:
        UserError: An option does not fit its type, or the task refuses it.
    """
    prepare_parsing()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(task, "task")
    given = {name: getattr(options, _PREFIX + name) for name in (parameter.name for parameter in _parameters(task))}
    words = [f"--task.{name}={_word(value)}" for name, value in given.items() if value is not None]
    try:
        parsed = parser.parse_args(words)
        return parser.instantiate(parsed).task, _identity(parsed)
    except ArgumentError as error:
        found = readable(str(error))
        key = found.key.removeprefix("task.")
        raise UserError(f"{_flag(key) if key else task.name}: {found.text}", _cure(task)) from error


def _identity(parsed: Namespace) -> dict[str, Any]:
    values: Mapping[str, Any] = plain(parsed.task)
    states = {f"{name}'s files": files_identity(value) for name, value in values.items()}
    return {**values, **{name: state for name, state in states.items() if state}}


def _takes_several(parameter: Parameter) -> bool:
    return get_origin(parameter.annotation) is list


def _word(value: str | list[str]) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parameters(task: type[Measurement]) -> list[Parameter]:
    return list(signature(task).parameters.values())


def _described(task: type[Measurement]) -> dict[str, str]:
    """What the docstring says of each parameter."""
    from docstring_parser import parse

    found = parse(task.__doc__ or "").params
    return {param.arg_name: " ".join((param.description or "").split()) for param in found}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _cure(task: type[Measurement]) -> str:
    return f"`modalign eval {task.name} --help` lists every option."
