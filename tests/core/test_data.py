"""The data module: what is read, held out, refused, and told."""

import json
from pathlib import Path

import pytest

from modalign import PreferenceDataModule
from modalign.core.errors import ConfigError, UserError
from modalign.core.loader import Collate
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Kto
from modalign.core.stream import ComparisonStream, stream_batches
from tests.core.callbacks.fitting import fit
from tests.toy import Letters, Pairs, write_pairs


def test_held_out_prompts_are_not_trained_on(tmp_path: Path) -> None:
    rows = [json.dumps({"prompt": f"p{n % 7}q", "chosen": "a" * (n + 1), "rejected": "b"}) for n in range(28)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(rows))
    data = PreferenceDataModule(Pairs(), train=str(path), validation_rows=9)
    data.connect(Letters(), Dpo())
    data.setup("fit")
    train = {c.prompt for c in data.comparisons("train")}
    held_out = [c.prompt for c in data.comparisons("validation")]
    assert len(held_out) == 8
    assert not train & set(held_out)
    assert len(list(data.comparisons("train"))) == 20


def test_the_report_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = fit(tmp_path, data={"max_rows": 20})
    assert "20 rows read, 20 kept, 0 skipped" in capsys.readouterr().out
    report = json.loads((tmp_path / "data_report.json").read_text())
    assert report["train"]["kept"] == 20
    assert report["train"]["unread"] == 4
    assert trainer.global_step == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"validation_rows": -1}, "validation_rows is -1"),
        ({"max_rows": 0}, "max_rows is 0"),
        ({"streaming": True, "validation_rows": 4}, "held out of a stream"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        PreferenceDataModule(Pairs(), train="x.jsonl", **options)


@pytest.mark.parametrize(("stage", "told"), [("fit", "data.train is empty"), ("validate", "no data to validate on")])
def test_missing_data(stage: str, told: str) -> None:
    data = PreferenceDataModule(Pairs())
    data.connect(Letters(), Dpo())
    with pytest.raises(ConfigError, match=told):
        data.setup(stage)


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


def test_a_batch_of_one_is_refused_where_rows_are_coupled() -> None:
    with pytest.raises(ConfigError, match=r"Kto estimates a mean.*batch_size is 1"):
        PreferenceDataModule(Pairs(), train="x.jsonl", batch_size=1).connect(Letters(), Kto())
    PreferenceDataModule(Pairs(), train="x.jsonl", batch_size=1).connect(Letters(), Dpo())
