"""`modalign quickstart image`: a small diffusion model learns to draw digits, then to draw them as preferred.

Offline and on two processor cores. A pipeline with random weights learns real handwritten digits with captions (SFT),
its own pictures are ranked by a stated preference, and it is aligned to them by Diffusion-DPO and MaPO; beside them
stand the controls without which a gain says little.
"""

from modalign.modalities.quickstart.method_options import add_method_options, read_method_options
from modalign.modalities.quickstart.options import quickstart_parser, stopwatch

DESCRIPTION = "Teach a small diffusion model to draw digits, align it, and compare with honest controls."
METHODS = ("dpo", "mapo", "kto", "rankdpo")
DEFAULT_METHODS = ("dpo", "mapo")


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    parser = quickstart_parser("image", DESCRIPTION)
    add_method_options(parser, METHODS, default=DEFAULT_METHODS)
    options = read_method_options(parser.parse_args(argv), "image", METHODS)
    tell = stopwatch()
    tell(f"files go to {options.folder}; loading torch, diffusers and Lightning")
    from modalign.modalities.image.quickstart.demonstration import demonstrate

    demonstrate(options, tell)
    return 0
