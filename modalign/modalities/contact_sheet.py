"""Pictures side by side, for any modality whose responses can be shown as such: a row a prompt, a column a policy."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modalign.core.errors import UserError

MARGIN = 8
FONT_SIZE = 14


def picture_sheet(
    prompts: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
    cell: tuple[int, int],
    drawn: Callable[[Any], Any],
) -> Any:
    """A PIL image with the prompts as captions and the columns' names on top.

    Args:
        prompts: One a row.
        columns: For each name, one response a prompt.
        cell: Width and height of a picture's place on the sheet.
        drawn: From a response to its picture, a PIL image no larger than a cell.

    Raises:
        UserError: There is nothing to show, or a column has not one response a prompt.
        RowError: `drawn` refuses a response.
    """
    from PIL import Image, ImageDraw, ImageFont

    _check(prompts, columns)
    font, line, (wide, high) = ImageFont.load_default(FONT_SIZE), FONT_SIZE + 4, cell
    captions = [_lines(prompt, len(columns) * wide // (FONT_SIZE // 2)) for prompt in prompts]
    heights = [high + MARGIN + line * len(caption) + MARGIN for caption in captions]
    size = MARGIN + len(columns) * (wide + MARGIN), line + 2 * MARGIN + sum(heights)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(columns):
        draw.text((MARGIN + place * (wide + MARGIN), MARGIN), name, fill="black", font=font)
    top = line + 2 * MARGIN
    for row, (caption, height) in enumerate(zip(captions, heights, strict=True)):
        for place, responses in enumerate(columns.values()):
            picture = drawn(responses[row])
            left = MARGIN + place * (wide + MARGIN)
            sheet.paste(picture, (left + (wide - picture.width) // 2, top + (high - picture.height) // 2))
        for number, text in enumerate(caption):
            draw.text((MARGIN, top + high + MARGIN // 2 + number * line), text, fill="black", font=font)
        top += height
    return sheet


def _check(prompts: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> None:
    if not prompts or not columns:
        raise UserError("A contact sheet needs at least one prompt and one column.", "Give both.")
    for name, responses in columns.items():
        if len(responses) != len(prompts):
            raise UserError(
                f"The column {name!r} has {len(responses)} responses for {len(prompts)} prompts.", "Give one a prompt."
            )


def _lines(prompt: str, width: int) -> list[str]:
    """At most three lines of a caption."""
    return textwrap.wrap(prompt, max(width, 10), max_lines=3, placeholder="...") or [""]
