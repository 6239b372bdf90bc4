"""From a row to comparisons that know where they are from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modalign.core.batch import Comparison
from modalign.core.format import Format
from modalign.core.media import located


def parse_row(row: Mapping[str, Any], format: Format, place: tuple[str, int]) -> list[Comparison]:
    """The comparisons of one row, which know the file and the row number they are from.

    Raises:
        RowError: The row cannot be parsed.
    """
    source, number = place
    folder = Path(source).parent.absolute()
    return [_placed(comparison, source, number, folder) for comparison in format.parse(row)]


def _placed(comparison: Comparison, source: str, row: int, folder: Path) -> Comparison:
    candidates = tuple(
        replace(each, response=located(each.response, folder), context=located(each.context, folder))
        for each in comparison.candidates
    )
    prompt, extra = located(comparison.prompt, folder), located(comparison.extra, folder)
    return replace(comparison, prompt=prompt, candidates=candidates, extra=extra, source=source, row=row)
