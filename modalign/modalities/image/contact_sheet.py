"""Pictures side by side: a row a prompt, a column a policy."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.errors import UserError
from modalign.modalities.image.decoding import decode_image

CELL = 256
"""Pictures are fitted into squares of so many pixels; smaller ones are enlarged by whole factors."""
MARGIN = 8
FONT_SIZE = 14


def contact_sheet(prompts: Sequence[str], columns: Mapping[str, Sequence[Any]], cell: int = CELL) -> Any:
    """A PIL image with the prompts as captions and the columns' names on top.

    Args:
        prompts: One a row.
        columns: For each name, one PIL image or `Media` a prompt.
        cell: Height and width of a picture on the sheet.

    Raises:
        UserError: There is nothing to show, or a column has not one picture a prompt.
        RowError: A file is gone or damaged.
    """
    from PIL import Image, ImageDraw, ImageFont

    _check(prompts, columns)
    font = ImageFont.load_default(FONT_SIZE)
    line = FONT_SIZE + 4
    captions = [_lines(prompt, len(columns) * cell // (FONT_SIZE // 2)) for prompt in prompts]
    heights = [cell + MARGIN + line * len(caption) + MARGIN for caption in captions]
    width = MARGIN + len(columns) * (cell + MARGIN)
    sheet = Image.new("RGB", (width, line + 2 * MARGIN + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(columns):
        draw.text((MARGIN + place * (cell + MARGIN), MARGIN), name, fill="black", font=font)
    top = line + 2 * MARGIN
    for row, (caption, height) in enumerate(zip(captions, heights, strict=True)):
        for place, pictures in enumerate(columns.values()):
            picture = _fitted(decode_image(pictures[row]), cell)
            left = MARGIN + place * (cell + MARGIN)
            sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        for number, text in enumerate(caption):
            draw.text((MARGIN, top + cell + MARGIN // 2 + number * line), text, fill="black", font=font)
        top += height
    return sheet


def _check(prompts: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> None:
    if not prompts or not columns:
        raise UserError("A contact sheet needs at least one prompt and one column.", "Give both.")
    for name, pictures in columns.items():
        if len(pictures) != len(prompts):
            raise UserError(
                f"The column {name!r} has {len(pictures)} pictures for {len(prompts)} prompts.", "Give one a prompt."
            )


def _lines(prompt: str, width: int) -> list[str]:
    """At most three lines of a caption."""
    return textwrap.wrap(prompt, max(width, 10), max_lines=3, placeholder="...") or [""]


def _fitted(picture: Any, cell: int) -> Any:
    from PIL import Image

    longest = max(picture.size)
    if longest <= cell:
        factor = cell // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = (max(1, picture.width * cell // longest), max(1, picture.height * cell // longest))
    return picture.resize(size, Image.Resampling.LANCZOS)
