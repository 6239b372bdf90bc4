import io
import multiprocessing
import pickle

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Features, List, Value
from PIL import Image

from modalign.core.errors import UserError
from modalign.core.sources import open_rows, stream_rows

ROWS = [
    {"prompt": "a", "chosen": [{"role": "assistant", "content": "x"}], "score": 1.5},
    {"prompt": None, "chosen": [], "score": None},
    {"prompt": "c", "chosen": [{"role": "user", "content": None}], "score": -2.0},
]


@pytest.fixture(params=["parquet", "arrow stream", "arrow file", "saved"])
def path(request, tmp_path):
    table = pa.Table.from_pylist(ROWS)
    if request.param == "parquet":
        path = tmp_path / "a.parquet"
        pq.write_table(table, path, row_group_size=2)
    elif request.param == "saved":
        path = tmp_path / "saved"
        Dataset.from_list(ROWS).save_to_disk(path)
    else:
        path = tmp_path / "a.arrow"
        create = pa.ipc.new_stream if request.param == "arrow stream" else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as file, create(file, table.schema) as writer:
            writer.write_table(table)
    return path


def test_rows_are_read_by_number_and_as_a_stream(path):
    source = open_rows(path)
    assert [source[index] for index in range(len(source))] == ROWS
    assert list(stream_rows(path)) == list(source.rows()) == list(enumerate(ROWS))
    assert source.columns()["prompt"] == "a"
    with pytest.raises(IndexError):
        source[3]


def test_sources_are_pickled_by_reference_and_shared_after_a_fork(path):
    source = open_rows(path)
    assert pickle.loads(pickle.dumps(source))[2] == ROWS[2]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(source.__getitem__, [0, 1, 2] * 10) == ROWS * 10


def test_a_split_of_a_saved_data_set(tmp_path):
    DatasetDict({"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:1])}).save_to_disk(tmp_path / "s")
    assert len(open_rows(tmp_path / "s")) == 3
    assert len(list(stream_rows(tmp_path / "s", split="test"))) == 1
    with pytest.raises(UserError, match="no split 'tset'") as caught:
        open_rows(tmp_path / "s", split="tset")
    assert "'test'" in caught.value.cure


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"this is no table"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for read in (open_rows, lambda path: list(stream_rows(path))):
        with pytest.raises(UserError, match=f"{name} cannot be read") as caught:
            read(tmp_path / name)
        assert caught.value.cure


def test_a_hub_id_without_a_network_is_answered_with_a_cure():
    for read in (open_rows, stream_rows):
        with pytest.raises(UserError, match="'someone/data'") as caught:
            read("someone/data")
        assert "HF_HUB_OFFLINE" in caught.value.cure


def test_media_are_not_decoded_however_they_are_nested(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    stored = {"bytes": buffer.getvalue(), "path": None}
    media = datasets.Image()
    features = Features(
        {
            "image": media,
            "images": List(media),
            "pair": {"chosen": media, "score": Value("float64")},
            "n": Value("int64"),
        }
    )
    row = {"image": stored, "images": [stored, stored], "pair": {"chosen": stored, "score": 1.5}, "n": 3}
    table = Dataset.from_list([row], features=features)
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "saved")
    DatasetDict({"train": table}).save_to_disk(tmp_path / "splits")
    for path in (tmp_path / "a.parquet", tmp_path / "saved", tmp_path / "splits"):
        source = open_rows(path)
        assert source[0] == row
        assert pickle.loads(pickle.dumps(source))[0] == row
        assert list(stream_rows(path)) == [(0, row)]
