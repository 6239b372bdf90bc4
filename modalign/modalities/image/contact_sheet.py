"""Pictures of policies side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.modalities.contact_sheet import picture_sheet
from modalign.modalities.image.decoding import decode_image

CELL = 256
"""Pictures are fitted into squares of so many pixels; smaller ones are enlarged by whole factors."""


def contact_sheet(prompts: Sequence[str], columns: Mapping[str, Sequence[Any]], cell: int = CELL) -> Any:
    """A PIL image; see `picture_sheet`.

    Args:
        prompts: One a row.
        columns: For each name, one PIL image or `Media` a prompt.
        cell: Height and width of a picture on the sheet.

    Raises:
        UserError: There is nothing to show, or a column has not one picture a prompt.
        RowError: A file is gone or damaged.
    """
    return picture_sheet(prompts, columns, (cell, cell), lambda picture: _fitted(decode_image(picture), cell))


def _fitted(picture: Any, cell: int) -> Any:
    from PIL import Image

    longest = max(picture.size)
    if longest <= cell:
        factor = cell // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = (max(1, picture.width * cell // longest), max(1, picture.height * cell // longest))
    return picture.resize(size, Image.Resampling.LANCZOS)
