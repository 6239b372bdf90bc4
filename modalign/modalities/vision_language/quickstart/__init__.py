"""`modalign quickstart vision-language`: a small model learns to describe pictures, invents, and is aligned.

Offline and on two processor cores. A LLaVA with random weights learns from careless descriptions of generated scenes
(SFT), so that it invents objects. Its own descriptions are ranked by what is in the picture, and it is aligned to them
by DPO and Re-Align's rDPO, and by mDPO where it is asked for; beside them stand the controls without which a gain says
little.
"""

from modalign.modalities.quickstart.method_options import add_method_options, read_method_options
from modalign.modalities.quickstart.options import quickstart_parser, stopwatch

DESCRIPTION = "Teach a small vision-language model to describe pictures, align it, and compare with honest controls."
METHODS = ("dpo", "rdpo", "mdpo")


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    parser = quickstart_parser("vision-language", DESCRIPTION)
    add_method_options(parser, METHODS, default=("dpo", "rdpo"))
    options = read_method_options(parser.parse_args(argv), "vision-language", METHODS)
    tell = stopwatch()
    tell(f"files go to {options.folder}; loading torch, transformers and Lightning")
    from modalign.modalities.vision_language.quickstart.demonstration import demonstrate

    demonstrate(options, tell)
    return 0
