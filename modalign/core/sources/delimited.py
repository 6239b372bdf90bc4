"""CSV and TSV: a header and records of strings; a record with too few or too many fields is one unusable row."""

import csv
import io
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError, UserError
from modalign.core.sources.base import NumberedRow, RowSource, TextRow
from modalign.core.sources.files import BYTE_ORDER_MARK, Spans, lines_of, unpacked

# Python's own limit of 131,072 characters is below real responses; none at all lets an open quote swallow the file.
LONGEST_FIELD = 1 << 24


class Delimited(RowSource):
    """A file of records whose fields a character separates; all values are strings.

    Quoted fields may hold the separator and line breaks. Blank lines are neither rows nor counted.

    Args:
        path: May end in .gz.
        separator: A comma for CSV, a tab for TSV.

    Raises:
        UserError: The file has no usable header.
    """

    def __init__(self, path: Path, separator: str) -> None:
        self.name = str(path)
        self._separator = separator
        plain = unpacked(path)
        records = _records(lines_of(plain), separator)
        self._header = _read_header(path, records)
        offsets = array("q")
        end = 0
        for record in records:
            offsets.append(record.start)
            end = record.end
        offsets.append(end)
        self._records = Spans(plain, offsets)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        self._check(index)
        lines = io.BytesIO(self._records[index])
        record = next(_records(lines, self._separator, file_start=False))
        try:
            return _row(self._header, record)
        except RowError as error:
            raise error.at(*self.place(index)) from None


def stream_delimited(path: Path, separator: str) -> Iterator[NumberedRow]:
    """The rows of a CSV or TSV file in order, without an index.

    Raises:
        UserError: The file has no usable header.
    """
    records = _records(lines_of(path), separator)
    header = _read_header(path, records)
    for number, record in enumerate(records):
        try:
            yield number, _row(header, record)
        except RowError as error:
            yield number, error.at(str(path), number)


@dataclass
class _Record:
    """One record: its bytes' place in the file, its fields, and what is wrong with it if it cannot be told apart."""

    start: int
    end: int
    lines: int
    fields: list[str]
    problem: str = ""


def _records(lines: Iterable[bytes], separator: str, file_start: bool = True) -> Iterator[_Record]:
    """Records one after another; blank lines are passed over.

    Args:
        lines: With their ends.
        separator: Between fields.
        file_start: Whether the first line may have a byte-order mark.
    """
    csv.field_size_limit(LONGEST_FIELD)
    read_bytes = read_lines = 0

    def counted() -> Iterator[str]:
        nonlocal read_bytes, read_lines
        for line in lines:
            read_bytes += len(line)
            read_lines += 1
            if read_lines == 1 and file_start:
                line = line.removeprefix(BYTE_ORDER_MARK)
            # Bytes that are no UTF-8 survive as surrogates, so that only their own row is refused.
            yield line.decode(errors="surrogateescape")

    reader = csv.reader(counted(), delimiter=separator, strict=True)
    while True:
        start, lines_before = read_bytes, read_lines
        fields, problem = [], ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = str(error)
        if fields or problem:
            yield _Record(start, read_bytes, read_lines - lines_before, fields, problem)


def _read_header(path: Path, records: Iterator[_Record]) -> list[str]:
    record = next(records, None)
    if record is None:
        raise UserError(f"{path} is empty.", "Check that it is the right file, and whole.")
    names = [name.strip() for name in record.fields]
    repeated = sorted({name for name in names if names.count(name) > 1})
    problem = record.problem or (f"{', '.join(repeated)} stands twice" if repeated else "")
    problem = problem or ("a column has no name" if "" in names else "")
    if problem:
        raise UserError(f"{path} has no usable header: {problem}.", "Name each column once in the first line.")
    return names


def _row(header: list[str], record: _Record) -> TextRow:
    if record.problem:
        extent = f" (over {record.lines} lines)" if record.lines > 1 else ""
        raise RowError(
            f"not valid CSV: {record.problem}{extent}",
            "Close every quote, and double the quotes inside a quoted field; or remove the row.",
        )
    if len(record.fields) != len(header):
        raise RowError(
            f"wrong number of fields: {len(record.fields)} for the {len(header)} columns {', '.join(header)}",
            "Quote fields that hold the separator, and leave none out; or remove the row.",
        )
    try:
        "".join(record.fields).encode()
    except UnicodeEncodeError:
        raise RowError("not UTF-8 text", "Save the file as UTF-8, or remove the row.") from None
    return TextRow(zip(header, record.fields, strict=True))
