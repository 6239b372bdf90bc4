"""The options of a quickstart that compares methods, several trainings at once."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass

from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.quickstart.options import QuickstartOptions, read_options

MOST_PROCESSES = 4


@dataclass(frozen=True)
class MethodOptions(QuickstartOptions):
    """What such a quickstart is told.

    Attributes:
        methods: Names of the alignments, in their usual order.
        processes: How many trainings run at once; the numbers do not depend on it.
    """

    methods: tuple[str, ...]
    processes: int


def add_method_options(parser: argparse.ArgumentParser, methods: Sequence[str], default: Sequence[str]) -> None:
    """Add `--methods` and `--processes`."""
    named = ",".join(default)
    shown = "all" if default == methods else named
    parser.add_argument("--methods", default=named, help=f"some of {','.join(methods)} (default: {shown})")
    processes = min(MOST_PROCESSES, os.cpu_count() or 1)
    parser.add_argument(
        "--processes", type=int, default=processes, help=f"how many trainings run at once (default: {processes})"
    )


def read_method_options(parsed: argparse.Namespace, modality: str, methods: Sequence[str]) -> MethodOptions:
    """The shared options and these, checked.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    chosen = _chosen(parsed.methods, methods)
    if parsed.processes < 1:
        raise UserError(f"--processes is {parsed.processes}.", "Give at least 1.")
    return MethodOptions(**vars(read_options(parsed, modality)), methods=chosen, processes=parsed.processes)


def _chosen(named: str, methods: Sequence[str]) -> tuple[str, ...]:
    """The methods in their usual order."""
    wanted = [name.strip() for name in named.split(",")]
    for name in wanted:
        if name not in methods:
            raise UserError(f"--methods: {name!r} is none.", did_you_mean(name, methods).capitalize())
    return tuple(name for name in methods if name in wanted)
