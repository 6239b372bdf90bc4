"""From a path or hub id to rows."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from modalign.core.errors import ConfigError, UserError
from modalign.core.sources import tables
from modalign.core.sources.base import NumberedRow, RowSource
from modalign.core.sources.delimited import Delimited, stream_delimited
from modalign.core.sources.folder import Folder
from modalign.core.sources.json_array import open_json
from modalign.core.sources.jsonl import JsonLines, stream_json_lines
from modalign.core.sources.splits import STANDARD_SPLITS, check_standard_split
from modalign.core.sources.webdataset import Webdataset, stream_webdataset

KINDS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".tar")
PACKABLE = (".jsonl", ".json", ".csv", ".tsv")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def open_rows(path_or_id: str | Path, split: str = "train", config_name: str | None = None) -> RowSource:
    """Open rows to be read by number.

    Args:
        path_or_id: A file (.jsonl, .json, .csv, .tsv, each also with .gz; .parquet, .arrow; .tar for a webdataset
            shard), a folder of files of one kind, a folder written by `save_to_disk`, or the id of a data set on the
            hub.
        split: Which split, of data that has several: a hub data set, or a folder whose files are named by split. Other
            local data has none; it may be asked for train, validation or test, and gives all its rows.
        config_name: Which configuration of a hub data set.

    Raises:
        UserError: There is no such data or no such split of it, or it cannot be read.
    """
    path = _local(path_or_id, config_name)
    if path is None:
        return tables.open_hub(str(path_or_id), split, config_name)
    if path.is_file():
        check_standard_split(path, split)
        return _open_file(path)
    if tables.is_saved(path):
        return tables.open_saved(path, split)
    return Folder(str(path), [_open_file(file) for file in _files_in(path, split)])


def stream_rows(path_or_id: str | Path, split: str = "train", config_name: str | None = None) -> Iterator[NumberedRow]:
    """Rows with their numbers, read one after another: the rows and the order of `open_rows`, without an index.

    A row that cannot be read comes as its `RowError`. In a folder of several files, the numbers start again with each
    file; stream its `data_files` one by one to know which file a row is from.

    Args and errors are those of `open_rows`.
    """
    path = _local(path_or_id, config_name)
    if path is None:
        return tables.stream_hub(str(path_or_id), split, config_name)
    if path.is_file():
        check_standard_split(path, split)
        return _stream_file(path)
    if tables.is_saved(path):
        return tables.open_saved(path, split).rows()
    return chain.from_iterable(map(_stream_file, _files_in(path, split)))


def data_files(path_or_id: str | Path, split: str = "train") -> list[str]:
    """The files that a folder's rows come from; anything else is returned as it is.

    Raises:
        UserError: The folder does not exist or has no usable files.
    """
    path = _local(path_or_id, None)
    if path is None or path.is_file() or tables.is_saved(path):
        return [str(path_or_id)]
    return [str(file) for file in _files_in(path, split)]


def _local(path_or_id: str | Path, config_name: str | None) -> Path | None:
    """The file or folder, or None for a hub id."""
    text = str(path_or_id)
    path = Path(text).expanduser()
    if path.exists():
        if config_name is not None:
            raise ConfigError(f"{text} is local, and has no configuration {config_name!r}.", "Remove config_name.")
        return path
    looks_local = isinstance(path_or_id, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1
    if looks_local or "\\" in text or _kind(path) or (path.parent != Path() and path.parent.exists()):
        raise UserError(f"no file or folder {text!r} (looked in {path.parent.absolute()})", _nearest(path))
    return None


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        existing = next(folder for folder in path.absolute().parents if folder.is_dir())
        return f"The path exists up to {existing}."
    names = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    near = get_close_matches(path.name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    return f"There: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}" if names else "That folder is empty."


def _kind(path: Path) -> str:
    """The suffix that says how to read a file, without .gz; empty for a file that cannot be read."""
    if path.suffix == ".gz":
        inner = Path(path.stem).suffix
        return inner if inner in PACKABLE else ""
    return path.suffix if path.suffix in KINDS else ""


def _known(path: Path) -> str:
    kind = _kind(path)
    if not kind:
        raise UserError(
            f"{path} is of no kind that can be read.", f"Known: {', '.join(KINDS)}; .gz after {', '.join(PACKABLE)}."
        )
    return kind


def _open_file(path: Path) -> RowSource:
    kind = _known(path)
    if kind == ".jsonl":
        return JsonLines(path)
    if kind == ".json":
        return open_json(path)
    if kind in _SEPARATORS:
        return Delimited(path, _SEPARATORS[kind])
    if kind == ".tar":
        return Webdataset(path)
    return tables.open_table(path, kind[1:])


def _stream_file(path: Path) -> Iterator[NumberedRow]:
    kind = _known(path)
    if kind == ".jsonl":
        return stream_json_lines(path)
    if kind == ".json":
        return open_json(path).rows()
    if kind in _SEPARATORS:
        return stream_delimited(path, _SEPARATORS[kind])
    if kind == ".tar":
        return stream_webdataset(path)
    return tables.stream_table(path, kind[1:])


def _files_in(folder: Path, split: str) -> list[Path]:
    """The folder's files of a split by name, such as train.jsonl or test-00000-of-00002.parquet; else all its files."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and _kind(file))
    if not files:
        names = sorted(entry.name for entry in folder.iterdir())
        raise UserError(
            f"{folder} holds no data files: {', '.join(names[:10]) or 'it is empty'}.", f"Known: {', '.join(KINDS)}."
        )
    files = _of_split(folder, files, split)
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) > 1:
        raise UserError(f"{folder} holds files of several kinds: {', '.join(kinds)}.", "Give the files one by one.")
    return files


def _of_split(folder: Path, files: list[Path], split: str) -> list[Path]:
    splits = [STANDARD_SPLITS.get(re.split(r"[._-]", file.name)[0], "") for file in files]
    if not any(splits):
        check_standard_split(folder, split)
        return files
    if not all(splits):
        nameless = files[splits.index("")].name
        raise UserError(
            f"Some files of {folder} are named by split, and {nameless} is not.", "Give the files one by one."
        )
    wanted = [file for file, name in zip(files, splits, strict=True) if name == STANDARD_SPLITS.get(split, split)]
    if not wanted:
        there = ", ".join(sorted(set(splits)))
        raise UserError(f"{folder} has no files of the split {split!r}.", f"Its files are of the splits: {there}.")
    return wanted
