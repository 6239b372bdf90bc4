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
    from torch import OutOfMemoryError

    from modalign.commands.lightning_cli import ModalignCLI

    quiet_lightning()
    cli = ModalignCLI(command, argv, files)
    try:
        cli.run()
    except (UserError, OutOfMemoryError) as error:
        if os.environ.get("MODALIGN_DEBUG"):
            raise
        print_error(error if isinstance(error, UserError) else _out_of_memory(error))
        return 1
    return 0


def _out_of_memory(error: Exception) -> UserError:
    return UserError(
        f"the device is out of memory: {str(error).splitlines()[0]}",
        "Halve data.batch_size and double trainer.accumulate_grad_batches (the result stays the same), shorten the "
        "examples, or do without a second model: model.reference cached, or an adapter.",
    )
