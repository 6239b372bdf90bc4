"""`modalign build tango2`: pairs of a policy's own sounds (Majumder et al. 2024, arXiv 2404.09956).

Of each prompt several sounds are generated, and sounds of captions that lack an event or turn the order round; a reward
says how well each fits the prompt, the best is chosen, and those that fit measurably worse are rejected.
"""

import argparse
from math import isfinite

from modalign.commands.build_tango2_parser import tango2_parser
from modalign.commands.model_options import check_model_options
from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import UserError


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option, the prompts or the model cannot be used, or the folder holds something else.
    """
    options = tango2_parser().parse_args(argv)
    check_options(options)
    no_bars_off_terminal()
    from modalign.commands.build_tango2_plan import open_plan
    from modalign.modalities.audio.build.tango2 import build_tango2

    quiet_lightning()
    build_tango2(open_plan(options))
    return 0


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other or are out of their ranges.

    Raises:
        UserError: Naming them.
    """
    check_model_options(options)
    for name in ("limit", "samples", "rewrites"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}", "Give at least 1.")
    for name in ("min_score", "min_gap", "max_rejected_score"):
        value = getattr(options, name)
        if value is not None and not isfinite(value):
            raise UserError(f"--{name.replace('_', '-')} is {value}", "Give a number.")
    if options.min_gap < 0:
        raise UserError(f"--min-gap is {options.min_gap}", "Give at least 0.")
    strategies = options.strategies
    if len(set(strategies)) < len(strategies):
        raise UserError(f"--strategies names one twice: {' '.join(strategies)}", "Name each once.")
    if strategies == ["inference"] and options.rewrites is not None:
        raise UserError("--rewrites has no effect: the only strategy is inference", "Leave it out.")
    if strategies == ["inference"] and options.rewriter != ["rules"]:
        raise UserError("--rewriter has no effect: the only strategy is inference", "Leave it out.")
