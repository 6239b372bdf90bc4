"""`modalign quickstart text`: a small language model learns to answer, then to answer as preferred, in minutes.

Offline and on two processor cores. A model with random weights learns a generated instruction set (SFT), its own
answers are ranked by a stated preference, and DPO aligns it to them; beside it stand the controls without which a gain
says little.
"""

import argparse
import time
from itertools import count
from pathlib import Path

from modalign.core.errors import UserError

DEFAULT_FOLDER = "runs/quickstart-text"


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    options = _parser().parse_args(argv)
    if options.seeds < 1 or options.seed < 0:
        raise UserError(f"--seeds is {options.seeds} and --seed is {options.seed}.", "Give at least 1 and at least 0.")
    folder = _folder(options.out)
    began = time.perf_counter()

    def tell(text: str) -> None:
        print(f"[{time.perf_counter() - began:4.0f} s] {text}", flush=True)

    tell(f"files go to {folder}; loading torch, transformers and Lightning")
    from modalign.modalities.text.quickstart.demonstration import demonstrate

    demonstrate(folder, range(options.seed, options.seed + options.seeds), options.smoke, tell)
    return 0


def _folder(wanted: Path | None) -> Path:
    """The folder asked for, or the first of the default ones that is free."""
    if wanted is None:
        names = (f"{DEFAULT_FOLDER}-{n}" if n > 1 else DEFAULT_FOLDER for n in count(1))
        return next(path for path in map(Path, names) if not path.exists())
    if wanted.exists() and not (wanted.is_dir() and not any(wanted.iterdir())):
        raise UserError(f"--out: {str(wanted)!r} exists already.", "Name a new folder.")
    return wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modalign quickstart text",
        description="Teach a small language model to answer, align it by DPO, and compare with honest controls.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"a new folder; by default {DEFAULT_FOLDER}")
    parser.add_argument("--seeds", type=int, default=3, help="how often everything is repeated (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--smoke", action="store_true", help="a few steps only: shows that it runs, not that it works")
    return parser
