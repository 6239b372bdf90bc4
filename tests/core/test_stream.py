"""Streams: every row once an epoch, the same batches with any number of workers, and no row lost without a trace."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from modalign.core.batch import Candidate, Comparison, Example
from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.loader import Collate
from modalign.core.modality import Modality
from modalign.core.objectives.pointwise import Kto
from modalign.core.sources import open_rows
from modalign.core.sources import tables as tables_source
from modalign.core.stream import ComparisonStream, stream_batches
from modalign.plugins.formats.ranked import Ranked
from tests.toy import Letters, Pairs, write_pairs


class Cutting(Letters):
    """Says which comparisons it cuts."""

    def encode(self, comparison: Comparison) -> Example:
        longest = max(len(candidate.response) for candidate in comparison.candidates)
        return replace(super().encode(comparison), truncated=longest > self.longest)


def stream(path: Path, modality: Modality | None = None, **options) -> ComparisonStream:
    return ComparisonStream([str(path)], "train", None, Pairs(), modality or Letters(), **options)


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


def with_bad_rows(path: Path) -> Path:
    """12 rows: line 5 is not JSON, and rows 6 to 9 have no response."""
    lines = write_pairs(path, rows=12).read_text().splitlines()
    lines[5] = "{not json"
    lines[6:10] = [json.dumps({"prompt": "a", "chosen": "", "rejected": "b"})] * 4
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_bad_row_stops_the_stream_with_a_plain_error(tmp_path: Path, workers: int) -> None:
    path = with_bad_rows(tmp_path / "pairs.jsonl")
    with pytest.raises(UserError) as caught:
        epoch_of(stream(path, buffer=0), workers=workers)
    assert str(caught.value).startswith(f"{path}, row 5: not valid JSON")
    assert "Traceback" not in str(caught.value)
    assert caught.value.cure == "Mend the row, or set data.on_bad_row: skip."


def test_a_file_that_a_worker_cannot_read_is_a_plain_error(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes("{}".encode("utf-16"))
    with pytest.raises(UserError, match=r"pairs\.jsonl is UTF-16 text") as caught:
        epoch_of(stream(path), workers=1)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_what_becomes_of_the_rows_is_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    source = stream(with_bad_rows(tmp_path / "pairs.jsonl"), buffer=0, on_bad_row="skip", modality=Cutting(longest=3))
    report = source.report
    batches = epoch_of(source, workers=workers)
    assert [rows for rows, _ in batches] == [[0, 1, 2, 3], [4], [10, 11]]
    told = capsys.readouterr().out
    assert "epoch 0: " in told
    assert "12 rows read, 7 kept, 5 skipped (nothing was chosen: 4, not valid JSON: 1)" in told
    assert all(f"row {row}" in told for row in range(5, 10))
    counts = report.as_dict()
    lines = [
        json.loads(line)
        for n, line in enumerate((tmp_path / "pairs.jsonl").read_text().splitlines())
        if not 5 <= n < 10
    ]
    long = sum(max(len(line["chosen"]), len(line["rejected"])) > 3 for line in lines)
    assert 0 < long < 7
    assert (counts["read"], counts["kept"], counts["skipped"], counts["comparisons"]) == (12, 7, 5, 7)
    assert (counts["truncated"], counts["roles"]) == (long, {"chosen": 7, "rejected": 7})
    assert [row["row"] for row in counts["sources"][0]["skipped_rows"]] == [5, 6, 7, 8, 9]
    epoch_of(source, epoch=1, workers=workers)
    assert report.as_dict() == {**counts, "share": "epoch 1"}


def test_a_probe_does_not_count_rows_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = stream(write_pairs(tmp_path / "pairs.jsonl", rows=18))

    def batches(epoch: int):
        return stream_batches(source, Collate(Letters()), epoch, 0, rows=4, rank=0, world=1, workers=0)

    def probe() -> None:
        list(islice(batches(0), 2))

    for epoch in (0, 1):
        probe()
        for _ in batches(epoch):
            probe()
        assert source.report.as_dict()["read"] == 18
    assert capsys.readouterr().out.count("18 rows read") == 2


@pytest.mark.parametrize("rows", [17, 1])
def test_ranks_count_what_they_are_dealt(tmp_path: Path, rows: int) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", rows=rows)
    path.write_text(path.read_text() + "{\n" * 3)
    reports = []
    for rank in (0, 1):
        source = stream(path, on_bad_row="skip")
        epoch_of(source, rank=rank, world=2)
        reports.append(source.report.as_dict())
    assert [report["share"] for report in reports] == ["epoch 0, rank 0 of 2", "epoch 0, rank 1 of 2"]
    for count, total in {"read": rows + 3, "kept": rows, "skipped": 3, "comparisons": rows}.items():
        assert sum(report[count] for report in reports) == total


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_without_a_usable_row_is_an_error(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("")
    with pytest.raises(UserError, match=r"pairs\.jsonl: no rows"):
        epoch_of(stream(path, on_bad_row="skip"), workers=workers)
    path.write_text("{\n" * 9)
    with pytest.raises(UserError, match=r"(?s)No row of .* can be used.*9 rows read, 0 kept, 9 skipped"):
        epoch_of(stream(path, on_bad_row="skip"), workers=workers)


def test_an_epoch_may_be_gone_on_with_at_its_end(tmp_path: Path) -> None:
    assert epoch_of(stream(write_pairs(tmp_path / "pairs.jsonl", rows=8)), start=2) == []


class Neighbours(Letters):
    """Makes a cell from another row's rejected response, which must begin with another letter."""

    extra_roles = frozenset({"neighbour"})

    def needs_other_row(self, roles) -> bool:
        return "neighbour" in roles

    def other_key(self, comparison: Comparison) -> str:
        return comparison.candidate("rejected").response[0]

    def extra_candidate(self, comparison: Comparison, role: str, other: Comparison | None) -> Candidate:
        assert other is not None
        return Candidate(other.candidate("rejected").response, role)


def test_a_modality_gets_another_row_of_the_chunk(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": "p", "chosen": "a", "rejected": text} for text in ("bx", "by", "cz", "bw")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = stream(path, Neighbours(), buffer=0, extra_roles=("neighbour",))
    examples = reader.reader.read(list(reader.rows(0)), 0, 1, reader.report)
    found = [example.comparison.candidate("neighbour").response for _, example in examples]
    assert found == ["cz", "cz", "bw", "cz"]


def test_a_mismatched_cell_holds_another_prompts_response(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", rows=8)
    source = stream(path, buffer=0, extra_roles=Kto.extra_roles)
    batches = list(stream_batches(source, Collate(Letters()), 0, 0, rows=4, rank=0, world=1, workers=0))
    assert all("mismatched" in batch.roles and batch.mask.all() for _, batch in batches)
    one_prompt = tmp_path / "one.jsonl"
    one_prompt.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    with pytest.raises(ConfigError, match="have the same"):
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


def test_what_an_option_leaves_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "ranked.jsonl"
    scores = [[1, 2, 2], [2, 2, 2], [3, 1, 2]]
    rows = [{"prompt": "a", "completions": ["a", "b", "c"], "scores": row} for row in scores]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = ComparisonStream([str(path)], "train", None, Ranked(pairs="all", ties="skip"), Letters(), buffer=0)
    epoch_of(source)
    (report,) = source.report.sources
    mapped = ComparisonDataset([open_rows(path)], Ranked(pairs="all", ties="skip"), Letters()).report.sources[0]
    assert (report.read, report.kept, report.comparisons) == (3, 2, 5)
    assert report.as_dict() == mapped.as_dict()


def test_a_stream_leaves_out_rows_that_lack_what_the_objective_reads(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", rows=6)

    def check(comparison: Comparison) -> None:
        if comparison.row == 2:
            raise RowError("no score", "Give one.")

    found = [row for rows, _ in epoch_of(stream(path, buffer=0, on_bad_row="skip", check=check)) for row in rows]
    assert found == [0, 1, 3, 4, 5]
    with pytest.raises(UserError, match="row 2: no score"):
        epoch_of(stream(path, buffer=0, check=check))
