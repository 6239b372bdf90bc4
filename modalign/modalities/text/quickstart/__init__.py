"""`modalign quickstart text`: a small language model learns to answer, then to answer as preferred, in minutes.

Offline and on two processor cores. A model with random weights learns a generated instruction set (SFT), its own
answers are ranked by a stated preference, and DPO aligns it to them; beside it stand the controls without which a gain
says little.
"""

from modalign.modalities.quickstart.options import quickstart_parser, read_options, stopwatch

DESCRIPTION = "Teach a small language model to answer, align it by DPO, and compare with honest controls."


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        UserError: An option is out of its range, or the folder is in use.
    """
    options = read_options(quickstart_parser("text", DESCRIPTION).parse_args(argv), "text")
    tell = stopwatch()
    tell(f"files go to {options.folder}; loading torch, transformers and Lightning")
    from modalign.modalities.text.quickstart.demonstration import demonstrate

    demonstrate(options.folder, options.seeds, options.smoke, tell)
    return 0
