"""Streams: every row once an epoch, the same batches with any number of workers, and no row lost without a trace."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from modalign.core.errors import ConfigError, UserError
from modalign.core.loader import Collate
from modalign.core.objectives.pointwise import Kto
from modalign.core.sources import tables as tables_source
from modalign.core.stream import ComparisonStream, stream_batches
from tests.toy import Letters, Pairs, write_pairs


def stream(path: Path, **options) -> ComparisonStream:
    return ComparisonStream([str(path)], "train", None, Pairs(), Letters(), **options)


def epoch_of(source: ComparisonStream, epoch: int = 0, start: int = 0, rank: int = 0, world: int = 1, workers: int = 0):
    batches = stream_batches(source, Collate(Letters()), epoch, start, rows=4, rank=rank, world=world, workers=workers)
    return [(batch.index.tolist(), batch.weight.tolist()) for _, batch in batches]


def test_a_stream_reads_every_row_once_an_epoch_in_another_order(tmp_path: Path) -> None:
    source = stream(write_pairs(tmp_path / "pairs.jsonl", rows=18), buffer=6)
    epochs = [[row for rows, _ in epoch_of(source, epoch) for row in rows] for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(18))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_a_stream_starts_anywhere_with_any_number_of_workers(tmp_path: Path, workers: int, start: int) -> None:
    source = stream(write_pairs(tmp_path / "pairs.jsonl", rows=18), buffer=6)
    assert epoch_of(source, 1, start, workers=workers) == epoch_of(source, 1)[start:]


def test_ranks_share_a_stream(tmp_path: Path) -> None:
    source = stream(write_pairs(tmp_path / "pairs.jsonl", rows=17), buffer=0)
    ranks = [epoch_of(source, rank=rank, world=2) for rank in (0, 1)]
    assert [len(rank) for rank in ranks] == [5, 5]
    assert ranks[1][-1] == ([16], [0.0]), "a filler that counts for nothing"
    counted = [row for rank in ranks for rows, weights in rank for row, w in zip(rows, weights, strict=True) if w]
    assert sorted(counted) == list(range(17))


def test_bad_rows_of_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", rows=12)
    lines = path.read_text().splitlines()
    lines[5] = "{not json"
    lines[6:10] = [json.dumps({"prompt": "a", "chosen": "", "rejected": "b"})] * 4
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="row 5"):
        epoch_of(stream(path, buffer=0))
    got = epoch_of(stream(path, buffer=0, on_bad_row="skip"))
    assert [rows for rows, _ in got] == [[0, 1, 2, 3], [4], [10, 11]]
    told = capsys.readouterr().out
    assert all(f"row {row}" in told for row in range(5, 10))


def test_a_mismatched_cell_holds_another_prompts_response(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", rows=8)
    source = stream(path, buffer=0, extra_roles=Kto.extra_roles)
    batches = list(stream_batches(source, Collate(Letters()), 0, 0, rows=4, rank=0, world=1, workers=0))
    assert all("mismatched" in batch.roles and batch.mask.all() for _, batch in batches)
    one_prompt = tmp_path / "one.jsonl"
    one_prompt.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    with pytest.raises(ConfigError, match="one prompt only"):
        list(
            stream_batches(
                stream(one_prompt, extra_roles=Kto.extra_roles),
                Collate(Letters()),
                0,
                0,
                rows=4,
                rank=0,
                world=1,
                workers=0,
            )
        )


def tables(folder: Path, files: int = 3, rows: int = 11) -> Path:
    """A folder of Parquet files with several row groups each."""
    folder.mkdir()
    lines = write_pairs(folder / "pairs", rows=files * rows).read_text().splitlines()
    (folder / "pairs").unlink()
    for file in range(files):
        table = pa.Table.from_pylist([json.loads(line) for line in lines[file * rows : (file + 1) * rows]])
        pq.write_table(table, folder / f"{file}.parquet", row_group_size=4)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_every_worker_of_a_parquet_stream_sees_every_row(tmp_path: Path, workers: int) -> None:
    source = stream(tables(tmp_path / "tables"), buffer=7)
    expected = epoch_of(source)
    assert sorted(row for rows, _ in expected for row in rows) == sorted([*range(11)] * 3)
    assert epoch_of(source, workers=workers) == expected
    assert epoch_of(source, start=2, workers=workers) == expected[2:]


def test_every_worker_of_a_hub_stream_sees_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(map(str, tables(tmp_path / "tables").iterdir()))
    several_shards = load_dataset("parquet", data_files=files, split="train", streaming=True)
    monkeypatch.setattr(tables_source, "_load_hub", lambda *asked, streaming: several_shards)
    source = stream(Path("someone/data"), buffer=7)
    expected = epoch_of(source)
    assert sorted(row for rows, _ in expected for row in rows) == list(range(33))
    assert epoch_of(source, workers=2) == expected
