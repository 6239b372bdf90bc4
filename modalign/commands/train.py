"""`modalign fit`, `validate`, `test` and `predict`."""

import logging
import os
import warnings

from modalign.commands.console import print_error
from modalign.commands.precheck import precheck
from modalign.core.errors import UserError

_NOT_APPLICABLE = (
    r".*does not have many workers.*",
    r".*treespec.*LeafSpec.*",
)


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
    quiet_lightning()
    from modalign.commands.lightning_cli import ModalignCLI

    cli = ModalignCLI(command, argv, files)
    try:
        cli.run()
    except UserError as error:
        if os.environ.get("MODALIGN_DEBUG"):
            raise
        print_error(error)
        return 1
    return 0


def quiet_lightning() -> None:
    """Leave out Lightning's advertisements, and advice that does not apply to this loop."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOT_APPLICABLE:
        warnings.filterwarnings("ignore", message=message)
