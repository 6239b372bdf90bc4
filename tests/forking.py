"""Running the program in a forked process, which spares it Python's start and the imports: ten seconds a time."""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import NoReturn

import torch

from modalign.cli import main

LONGEST = 600
"""Seconds after which a program is taken to hang."""


def forked(
    command: Sequence[str],
    out: Path,
    err: Path,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], object] = bool,
) -> int | None:
    """The exit code of `modalign` in a process of its own, with one thread; negative where a signal ended it.

    Args:
        command: What follows `modalign`.
        out: A file to whose end its standard output goes.
        err: The same for its errors; may be `out`.
        environment: Added to this process's.
        prepare: Called in that process before the program.
    """
    process = get_context("fork").Process(target=_run, args=(command, out, err, environment or {}, prepare))
    process.start()
    process.join(LONGEST)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"modalign {' '.join(command)} has not ended after {LONGEST} seconds.\n{err.read_text()}")
    return process.exitcode


def run_forked(
    *command: str, environment: Mapping[str, str] | None = None, prepare: Callable[[], object] = bool
) -> "CompletedProcess[str]":
    """As `forked`; what is printed is returned, as `subprocess.run` does."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        status = forked(command, out, err, environment, prepare)
        assert status is not None
        return CompletedProcess(command, status, out.read_text(), err.read_text())


def _run(
    command: Sequence[str], out: Path, err: Path, environment: Mapping[str, str], prepare: Callable[[], object]
) -> NoReturn:
    os.environ.update(environment)
    _redirect(out, err)
    torch.set_num_threads(1)
    prepare()
    sys.exit(main(list(command)))


def _redirect(out: Path, err: Path) -> None:
    """Everything printed goes to files, also by libraries and by what this process starts; what pytest took, not."""
    for number, path in ((1, out), (2, err)):
        with path.open("a") as file:
            os.dup2(file.fileno(), number)
    # Line by line, so that nothing is lost when the process is killed.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    for name in (None, *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.stderr  # `setStream` flushes the old one, which pytest may have closed
