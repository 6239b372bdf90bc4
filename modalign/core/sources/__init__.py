"""Rows from wherever they are: files, folders and the hub, by number or as a stream.

Row numbers count from 0, in error messages too. In JSON Lines, row N is line N, blank lines included (an editor, which
counts from 1, shows it as line N + 1); in CSV and TSV it is the N-th record below the header; in a webdataset shard it
is the N-th sample; elsewhere the N-th row.
"""

from modalign.core.sources.base import RowSource, TextRow
from modalign.core.sources.opening import data_files, open_rows, stream_rows

__all__ = ["RowSource", "TextRow", "data_files", "open_rows", "stream_rows"]
