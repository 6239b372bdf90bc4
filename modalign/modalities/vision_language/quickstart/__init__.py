"""`modalign quickstart vision-language`: a small model learns to describe pictures, invents, and is aligned.

Offline and on two processor cores. A LLaVA with random weights learns from careless descriptions of generated scenes
(SFT), so that it invents objects. Its own descriptions are ranked by what is in the picture, and it is aligned to them
by DPO, Re-Align's rDPO and mDPO; beside them stand the controls without which a gain says little.
"""

import os
from argparse import ArgumentParser

from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.quickstart.options import quickstart_parser, read_options, stopwatch

DESCRIPTION = "Teach a small vision-language model to describe pictures, align it, and compare with honest controls."
METHODS = ("dpo", "rdpo", "mdpo")
MOST_PROCESSES = 4


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    parsed = _parser().parse_args(argv)
    methods = _methods(parsed.methods)
    if parsed.processes < 1:
        raise UserError(f"--processes is {parsed.processes}.", "Give at least 1.")
    options = read_options(parsed, "vision-language")
    tell = stopwatch()
    tell(f"files go to {options.folder}; loading torch, transformers and Lightning")
    from modalign.modalities.vision_language.quickstart.demonstration import demonstrate

    demonstrate(options, methods, parsed.processes, tell)
    return 0


def _parser() -> ArgumentParser:
    parser = quickstart_parser("vision-language", DESCRIPTION)
    every = ",".join(METHODS)
    parser.add_argument("--methods", default=every, help=f"some of {every} (default: all)")
    processes = min(MOST_PROCESSES, os.cpu_count() or 1)
    parser.add_argument(
        "--processes", type=int, default=processes, help=f"how many trainings run at once (default: {processes})"
    )
    return parser


def _methods(named: str) -> tuple[str, ...]:
    """The methods in their usual order."""
    wanted = [name.strip() for name in named.split(",")]
    for name in wanted:
        if name not in METHODS:
            raise UserError(f"--methods: {name!r} is none.", did_you_mean(name, METHODS).capitalize())
    return tuple(name for name in METHODS if name in wanted)
