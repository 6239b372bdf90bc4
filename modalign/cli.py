"""The `modalign` program, stage one: it finds the command and hands over.

Nothing heavy is imported here, so that `--help`, `--version` and the light commands answer at once; `fit` and its
siblings bring Lightning in when they run.
"""

import os
import sys
from collections.abc import Sequence

from modalign import __version__
from modalign.commands.console import blame, print_error
from modalign.core.errors import UserError
from modalign.plugins.extras import missing_package
from modalign.plugins.manager import registry

_HELP = """usage: modalign COMMAND [options]

Aligns generative models of any modality with preferences.

commands:
{commands}

`modalign COMMAND --help` tells more about one. To begin: `modalign quickstart`, then `modalign recipes list`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Command and options; None for the program's own.

    Returns:
        The exit status: 0, 1 for a run that failed, 2 for a mistake in options or config, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except UserError as error:
        if os.environ.get("MODALIGN_DEBUG"):
            raise
        print_error(error)
        return 2
    except ModuleNotFoundError as error:
        cure = missing_package(error)
        if cure is None or os.environ.get("MODALIGN_DEBUG"):
            blame(error)
            raise
        print_error(UserError(f"{error.name} is not installed", cure))
        return 2
    except KeyboardInterrupt:
        print("modalign: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        blame(error)
        raise


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP.format(commands=_command_lines()), end="")
        return 0
    name, *rest = arguments
    if name == "--version":
        print(f"modalign {__version__}")
        return 0
    if name.startswith("-"):
        raise UserError(f"the option {name} stands before the command", "Write `modalign COMMAND [options]`.")
    return registry().load("command", name)(rest) or 0


def _command_lines() -> str:
    commands = registry().entries("command")
    width = max((len(command.name) for command in commands), default=0)
    return "\n".join(f"  {command.name:<{width}}  {command.summary}" for command in commands)
