"""Parquet, Arrow, saved data sets and the hub: what the `datasets` library reads. Rows stay on disk, memory-mapped.

Images and sounds are not decoded here: they come as mappings with `bytes` and `path`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modalign.core.errors import RowError, UserError, did_you_mean
from modalign.core.sources.base import NumberedRow, RowSource
from modalign.core.sources.splits import check_standard_split

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

_ROW_CURE = "Mend or remove the row; a media file that it names may be missing or damaged."


class Table(RowSource):
    """A map-style data set of the `datasets` library.

    Args:
        name: The file, folder or hub id.
        dataset: Its rows.
    """

    def __init__(self, name: str, dataset: "Dataset") -> None:
        self.name = name
        self._dataset = dataset
        dataset.info.features.update(_undecoded(dataset.features))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        self._check(index)
        try:
            row: dict[str, Any] = self._dataset[index]
        except (OSError, ValueError, RuntimeError) as error:
            raise RowError(f"cannot be decoded: {error}", _ROW_CURE).at(self.name, index) from error
        return row


def open_table(path: Path, kind: str) -> RowSource:
    """A Parquet or Arrow file.

    Args:
        path: The file.
        kind: `parquet` or `arrow`.

    Raises:
        UserError: It cannot be read.
    """
    return Table(str(path), _load_file(path, kind, streaming=False))


def stream_table(path: Path, kind: str) -> Iterator[NumberedRow]:
    """The rows of a Parquet or Arrow file in order, read piece by piece."""
    return _stream(str(path), _load_file(path, kind, streaming=True))


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / "state.json").exists() or _has_splits(folder)


def open_saved(folder: Path, split: str) -> RowSource:
    """A folder written by `save_to_disk`, of a data set or of several splits.

    Raises:
        UserError: It is damaged or has no such split.
    """
    from datasets import load_from_disk

    with _as_user_error(f"{folder} cannot be read", "Save the data set again."):
        saved = load_from_disk(str(folder))
    if _has_splits(folder):
        if split not in saved:
            raise UserError(f"{folder} has no split {split!r}.", did_you_mean(split, saved))
        saved = saved[split]
    else:
        check_standard_split(folder, split)
    return Table(str(folder), saved)


def open_hub(name: str, split: str, config_name: str | None) -> RowSource:
    """A split of a data set on the hub, or of its copy in the cache.

    Raises:
        UserError: It cannot be found or fetched.
    """
    return Table(name, _load_hub(name, split, config_name, streaming=False))


def stream_hub(name: str, split: str, config_name: str | None) -> Iterator[NumberedRow]:
    """The rows of a split of a data set on the hub, fetched as they are read.

    Raises:
        UserError: It cannot be found or fetched.
    """
    return _stream(name, _load_hub(name, split, config_name, streaming=True))


def _has_splits(folder: Path) -> bool:
    return (folder / "dataset_dict.json").exists()


def _load_file(path: Path, kind: str, streaming: bool) -> Any:
    from datasets import load_dataset

    with _as_user_error(f"{path} cannot be read as {kind}", "Check that the file is whole and what its name says."):
        return load_dataset(kind, data_files=str(path), split="train", streaming=streaming)


def _load_hub(name: str, split: str, config_name: str | None, streaming: bool) -> Any:
    from datasets import load_dataset

    cure = (
        "Check the id, the split and the configuration; without a network (or with HF_HUB_OFFLINE=1) only data sets in "
        "the cache can be read, and a gated one needs `hf auth login`. A local file or folder works too."
    )
    with _as_user_error(f"No file or folder is called {name!r}, and the hub's data set cannot be read", cure):
        return load_dataset(name, config_name, split=split, streaming=streaming)


def _stream(name: str, dataset: "IterableDataset") -> Iterator[NumberedRow]:
    with _as_user_error(f"{name} cannot be read further", "Check the network, or read it without streaming."):
        if dataset.features is not None and _undecoded(dataset.features) != dataset.features:
            dataset = dataset.decode(False)
        # Iterating the data set itself would deal its files out to the data workers; each of them has to see every row.
        for number, columns in enumerate(dataset.iter(batch_size=1)):
            yield number, {name: values[0] for name, values in columns.items()}


def _undecoded(feature: Any) -> Any:
    """A type of the `datasets` library, however nested, in which media stay the bytes they are."""
    if isinstance(feature, Mapping):
        return {name: _undecoded(inner) for name, inner in feature.items()}
    if hasattr(feature, "decode"):
        return replace(feature, decode=False)
    if hasattr(feature, "feature"):
        return replace(feature, feature=_undecoded(feature.feature))
    return feature


@contextmanager
def _as_user_error(what: str, cure: str) -> Iterator[None]:
    """Turn what `datasets` raises for data that it cannot find, fetch or read into a `UserError`."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        # The library wraps the reason in errors that only say "while generating the dataset".
        reason = error.__cause__ or error
        raise UserError(f"{what}: {reason}", cure) from error
