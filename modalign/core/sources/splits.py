"""Names of splits, and what they mean for local data that has no splits."""

from pathlib import Path

from modalign.core.errors import UserError, did_you_mean

STANDARD_SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("validation", "valid", "val", "dev"), "validation"
)
"""Names that files carry, and the split that each stands for."""


def check_standard_split(path: Path, split: str) -> None:
    """Refuse a split that local data without splits cannot have.

    The standard names are accepted, and mean all rows: they say what a file is used for, not a part of it.

    Raises:
        UserError: Another split is asked for.
    """
    if split not in STANDARD_SPLITS:
        raise UserError(
            f"{path} has no splits, and the split {split!r} of it is asked for.",
            f"Give the file with these rows, and leave the split out; {did_you_mean(split, STANDARD_SPLITS)}",
        )
