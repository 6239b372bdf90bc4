"""What the commands print."""

import sys
from collections.abc import Iterator, Sequence

from modalign.core.errors import UserError
from modalign.plugins.manager import registry
from modalign.plugins.registry import KINDS, Plugin


def print_error(error: UserError | str) -> None:
    """Tell a user's mistake on stderr."""
    print(f"modalign: error: {error}", file=sys.stderr)


def warn(message: str) -> None:
    """Tell on stderr what a user should know and need not act on."""
    print(f"modalign: {message}", file=sys.stderr)


def blame(error: BaseException) -> None:
    """Say which third-party plugin an unexpected exception came from, if any."""
    plugins = _third_party_packages()
    for module in reversed(list(_modules_of(error))):
        plugin = plugins.get(module.split(".")[0])
        if plugin is not None:
            warn(f"{type(error).__name__} in {module}, of {plugin}; its traceback follows")
            return


def table(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> str:
    """Rows as aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def _modules_of(error: BaseException) -> Iterator[str]:
    """The modules an exception passed through, outermost first."""
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame.f_globals.get("__name__", "")
        step = step.tb_next


def _third_party_packages() -> dict[str, Plugin]:
    entries = (entry for kind in KINDS for entry in registry().entries(kind))
    return {e.target.split(":")[0].split(".")[0]: e.plugin for e in entries if e.plugin.distribution != "modalign"}
