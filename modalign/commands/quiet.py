"""Keeping advertisements, and bars where there is no terminal, off the screen."""

import logging
import os
import sys
import warnings

_NOT_APPLICABLE = (
    r".*callbacks used to create the checkpoint need to be provided.*\['DriftLog'\].*",
    r"Total length of `list` across ranks is zero.*",
    r"You're resuming from a checkpoint that ended before the epoch ended and your dataloader is not resumable.*",
    r".*does not have many workers.*",
    r".*treespec.*LeafSpec.*",
    r"Found \d+ module\(s\) in eval mode at the start of training.*",
)


def quiet_lightning() -> None:
    """Leave out advertisements, and advice that does not apply to this loop; call it once Lightning is imported."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOT_APPLICABLE:
        warnings.filterwarnings("ignore", message=message)


def no_bars_off_terminal() -> None:
    """Leave tqdm's bars out of logs and pipes; call it before anything imports tqdm."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
