"""The options every quickstart has, and the new folder it writes to."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter

from modalign.core.errors import UserError

Tell = Callable[[str], None]
"""Shows a line of progress."""


@dataclass(frozen=True)
class QuickstartOptions:
    """What every quickstart is told.

    Attributes:
        folder: Where everything is written; it does not exist yet, or is empty.
        seeds: Everything is repeated for each.
        smoke: Whether to take a few steps only.
    """

    folder: Path
    seeds: range
    smoke: bool


def default_folder(modality: str) -> str:
    """Where a quickstart writes that is told nothing, if it is free."""
    return f"runs/quickstart-{modality}"


def quickstart_parser(modality: str, description: str) -> argparse.ArgumentParser:
    """The parser of `modalign quickstart MODALITY`, to which options of its own can be added."""
    parser = argparse.ArgumentParser(
        prog=f"modalign quickstart {modality}", description=description, allow_abbrev=False
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help=f"a new folder; by default {default_folder(modality)}"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how often everything is repeated (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--smoke", action="store_true", help="a few steps only: shows that it runs, not that it works")
    return parser


def read_options(parsed: argparse.Namespace, modality: str) -> QuickstartOptions:
    """The shared options, checked.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    if parsed.seeds < 1 or parsed.seed < 0:
        raise UserError(f"--seeds is {parsed.seeds} and --seed is {parsed.seed}.", "Give at least 1 and at least 0.")
    folder = _free_folder(parsed.out, default_folder(modality))
    return QuickstartOptions(folder, range(parsed.seed, parsed.seed + parsed.seeds), parsed.smoke)


def stopwatch() -> Tell:
    """Prints lines with the seconds since this call."""
    began = perf_counter()

    def tell(text: str) -> None:
        print(f"[{perf_counter() - began:4.0f} s] {text}", flush=True)

    return tell


def _free_folder(wanted: Path | None, default: str) -> Path:
    """The folder asked for, or the first of the default ones that is free."""
    if wanted is None:
        names = (f"{default}-{n}" if n > 1 else default for n in count(1))
        return next(path for path in map(Path, names) if not path.exists())
    if wanted.exists() and not (wanted.is_dir() and not any(wanted.iterdir())):
        raise UserError(f"--out: {str(wanted)!r} exists already.", "Name a new folder.")
    return wanted
