"""`modalign build realign`: Re-Align's pairs of responses and of images (Xing et al. 2025, arXiv 2502.13146).

An image's neighbour is retrieved, the policy describes it where the chosen response describes the image, and what it
says becomes the rejected response; the neighbour is kept as the other image.
"""

import argparse

from modalign.commands.build_realign_parser import realign_parser
from modalign.commands.model_options import check_model_options
from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import UserError


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option, the data or the model cannot be used, or the folder holds something else.
    """
    options = realign_parser().parse_args(argv)
    check_options(options)
    no_bars_off_terminal()
    from modalign.commands.build_realign_plan import open_plan
    from modalign.modalities.vision_language.build.pipeline import build_realign

    quiet_lightning()
    build_realign(open_plan(options))
    return 0


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other or are out of their ranges.

    Raises:
        UserError: Naming them.
    """
    check_model_options(options)
    for name in ("limit", "neighbours", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} is {value}", "Give at least 1.")
    low, high = options.similarity
    if not -1 <= low < high <= 1:
        raise UserError(f"--similarity is {low} {high}", "Give the least and the greatest cosine, from -1 to 1.")
    if not 0 < options.accept_below <= 1:
        raise UserError(f"--accept-below is {options.accept_below}", "Give a cosine above 0, at most 1.")
    if options.mask_share is not None and not 0 < options.mask_share <= 1:
        raise UserError(f"--mask-share is {options.mask_share}", "Give a share above 0, at most 1.")
    regenerate = options.rejected == "regenerate"
    idle = [
        name for name in ("words", "mask_share", "instruction") if regenerate and getattr(options, name) is not None
    ]
    for name in idle:
        raise UserError(f"--{name.replace('_', '-')} has no effect with --rejected regenerate", "Leave it out.")
    if options.words is not None and options.mask_share is not None:
        raise UserError("--mask-share has no effect with --words, all of which are blanked", "Leave it out.")
