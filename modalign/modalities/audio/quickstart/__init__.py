"""`modalign quickstart audio`: a small flow model learns to make sounds, then to put their events in the right order.

Offline and on two processor cores. A TangoFlux pipeline with random weights learns generated sounds with captions
(SFT), of which only some have their two events in the caption's order; it is then aligned to the right order by CRPO
(DPO with the chosen's own loss beside it) and by plain Diffusion-DPO, beside the controls without which a gain says
little.
"""

from modalign.modalities.quickstart.method_options import add_method_options, read_method_options
from modalign.modalities.quickstart.options import quickstart_parser, stopwatch

DESCRIPTION = "Teach a small flow model to make sounds, align the order of their events, and compare with controls."
METHODS = ("crpo", "dpo", "mapo", "kto")
DEFAULT_METHODS = ("crpo", "dpo")


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    parser = quickstart_parser("audio", DESCRIPTION)
    add_method_options(parser, METHODS, default=DEFAULT_METHODS)
    options = read_method_options(parser.parse_args(argv), "audio", METHODS)
    tell = stopwatch()
    tell(f"files go to {options.folder}; loading torch, diffusers and Lightning")
    from modalign.modalities.audio.quickstart.demonstration import demonstrate

    demonstrate(options, tell)
    return 0
