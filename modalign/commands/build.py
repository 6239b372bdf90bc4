"""`modalign build WHAT`: makes preference data."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from modalign.core.errors import UserError, did_you_mean

BUILDS: Mapping[str, str] = MappingProxyType(
    {
        "realign": "Re-Align: the policy answers anew under each image's neighbour; pairs of responses and of images.",
        "tango2": "Tango 2: the policy's own sounds, the best against worse ones and those of changed captions.",
    }
)
"""What can be built; the module `build_...` of that name beside this one has a `main`."""


def main(argv: list[str]) -> int:
    """Build what the first argument names; returns the exit status.

    Raises:
        UserError: It names nothing that can be built.
    """
    known = "\n".join(f"  {name}  {summary}" for name, summary in BUILDS.items())
    if argv and argv[0] in ("-h", "--help"):
        print(f"usage: modalign build WHAT [OPTIONS]\n\nMakes preference data. WHAT is one of:\n{known}")
        return 0
    name = argv[0] if argv else ""
    if name not in BUILDS:
        raise UserError(
            f"modalign build makes no {name!r}"
            if name
            else f"modalign build is not told what to make; it knows:\n{known}",
            did_you_mean(name, BUILDS) if name else "Run `modalign build --help`.",
        )
    module = importlib.import_module(f"modalign.commands.build_{name}")
    status: int = module.main(argv[1:])
    return status
