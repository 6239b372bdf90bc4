"""`modalign fit`, `validate`, `test` and `predict`."""

import os

from modalign.commands.console import print_error
from modalign.commands.precheck import precheck
from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import UserError


def fit(argv: list[str]) -> int:
    """Train."""
    return _run("fit", argv)


def validate(argv: list[str]) -> int:
    """Evaluate on the validation data."""
    return _run("validate", argv)


def test(argv: list[str]) -> int:
    """Evaluate on the test data."""
    return _run("test", argv)


def predict(argv: list[str]) -> int:
    """Compute likelihoods row by row."""
    return _run("predict", argv)


def _run(command: str, argv: list[str]) -> int:
    files = precheck(command, argv)
    no_bars_off_terminal()
    from modalign.commands.lightning_cli import ModalignCLI

    quiet_lightning()
    cli = ModalignCLI(command, argv, files)
    try:
        cli.run()
    except UserError as error:
        if os.environ.get("MODALIGN_DEBUG"):
            raise
        print_error(error)
        return 1
    return 0
