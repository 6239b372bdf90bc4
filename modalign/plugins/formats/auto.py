"""The format that the columns of the data call for."""

import warnings
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import UserError
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.plugins.formats.values import shown

_NOT_BY_COLUMNS = frozenset({"auto", "columns"})
_CURE = (
    "Name the format in data.format, with the names of columns as its options where they are others; or, for text, use "
    "`columns` to say which column is what."
)


class AutoFormat(Format):
    """Chooses the one that matches the columns among the registered formats of the modality, other packages' too.

    One that is made for the modality goes before one that the modality only `reads` too. A format that cannot be built
    without options is left to be named.

    Args:
        formats: What to choose among; None for all registered formats.
    """

    name = "auto"
    wants: ClassVar[str] = "columns that one other format matches"

    def __init__(self, formats: Sequence[Format] | None = None) -> None:
        self.formats = formats

    def matches(self, columns: Mapping[str, Any]) -> bool:
        """Never: it stands for another format."""
        return False

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        known, notes = (self.formats, []) if self.formats is not None else _registered()
        formats = [format for format in known if format.fits(modality)]
        matching = _preferred([format for format in formats if _matches(format, columns, notes)], modality)
        for note in notes:
            warnings.warn(f"data.format auto: {note}", stacklevel=2)
        if len(matching) == 1:
            return matching[0].resolve(columns, source, modality)
        fitting = " and ".join(format.name for format in matching)
        problem = f"fits {len(matching)} formats ({fitting})" if matching else "fits no format"
        there = "\n".join(f"  {name}: {shown(value)}" for name, value in columns.items())
        wanted = "\n".join(f"  {format.name}: {format.wants or type(format).__doc__}" for format in formats)
        raise UserError(f"{source} {problem}. Its columns:\n{there}\nWhat each format wants:\n{wanted}", _CURE)

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        """Cannot be done before the columns are known.

        Raises:
            UserError: Always.
        """
        raise UserError("The format `auto` was asked to parse a row.", "Call `resolve` and parse with what it returns.")


def _registered() -> tuple[list[Format], list[str]]:
    """The formats that need no options, and what is wrong with those that cannot be loaded."""
    from modalign.plugins.manager import registry

    formats, notes = [], []
    for name in registry().names("format"):
        if name in _NOT_BY_COLUMNS:
            continue
        try:
            kind = registry().load("format", name)
        except UserError as error:
            notes.append(f"{name} cannot be loaded: {error.message}")
            continue
        if not any(_is_required(parameter) for parameter in signature(kind).parameters.values()):
            formats.append(kind())
    return formats, notes


def _preferred(matching: list[Format], modality: Modality | None) -> list[Format]:
    """Those made for the modality, if there are any: a format that it borrows from another sees less of a row."""
    own = [each for each in matching if modality is None or not each.modalities or modality.name in each.modalities]
    return own or matching


def _matches(format: Format, columns: Mapping[str, Any], notes: list[str]) -> bool:
    try:
        return format.matches(columns)
    except Exception as error:
        # Whatever another package's format does, the formats beside it stay usable.
        notes.append(f"{format.name} is left out, since its `matches` raised {error!r}")
        return False


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        Parameter.VAR_POSITIONAL,
        Parameter.VAR_KEYWORD,
    )
