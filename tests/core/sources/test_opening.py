import json

import pytest
from datasets import Dataset

from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.sources import data_files, open_rows, stream_rows


def write(path, *numbers):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"n": n}) + "\n" for n in numbers))
    return path


def numbers(rows):
    return [row["n"] for _, row in rows]


def test_a_misspelt_file_is_answered_with_the_nearest_names(tmp_path):
    write(tmp_path / "train.jsonl", 1)
    write(tmp_path / "other.csv")
    with pytest.raises(UserError, match="no file or folder") as caught:
        open_rows(tmp_path / "trian.jsonl")
    assert "'train.jsonl'" in caught.value.cure
    assert "other.csv" not in caught.value.cure


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv.gz", "./x", "/no/such/place", "~/no such file", "a/b/c", "d\\x"])
def test_what_looks_like_a_path_is_never_asked_of_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (open_rows, stream_rows, data_files):
        with pytest.raises(UserError, match="no file or folder"):
            read(name)


def test_a_name_in_an_existing_folder_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "train.jsonl", 1)
    with pytest.raises(UserError, match="no file or folder 'data/trains'"):
        open_rows("data/trains")


def test_unknown_kinds_of_files_are_refused(tmp_path):
    for name in ("a.txt", "a.parquet.gz", "a"):
        (tmp_path / name).write_text("x")
        with pytest.raises(UserError, match="of no kind that can be read") as caught:
            open_rows(tmp_path / name)
        assert ".jsonl" in caught.value.cure


def test_a_configuration_of_a_local_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no configuration 'helpful'"):
        open_rows(write(tmp_path / "a.jsonl", 1), config_name="helpful")


def test_a_folder_is_read_file_by_file_and_its_rows_know_theirs(tmp_path):
    first, empty, last = (write(tmp_path / "d" / f"{n}.jsonl", *rows) for n, rows in enumerate([(1, 2), (), (3,)]))
    last.write_text(last.read_text() + "{\n")
    (tmp_path / "d" / "README.md").write_text("not data")
    source = open_rows(tmp_path / "d")
    assert len(source) == 4
    assert [source.place(index) for index in range(4)] == [
        (str(first), 0),
        (str(first), 1),
        (str(last), 0),
        (str(last), 1),
    ]
    assert [source[index]["n"] for index in range(3)] == [1, 2, 3]
    with pytest.raises(RowError) as caught:
        source[3]
    assert (caught.value.source, caught.value.row) == (str(last), 1)
    assert data_files(tmp_path / "d") == [str(first), str(empty), str(last)]
    assert list(map(str, stream_rows(tmp_path / "d"))) == list(map(str, source.rows()))


def test_files_named_by_split_are_read_split_by_split(tmp_path):
    for name, number in [("train-00000-of-00002", 1), ("train-00001-of-00002", 2), ("test", 3), ("val", 4)]:
        write(tmp_path / f"{name}.jsonl", number)
    assert numbers(open_rows(tmp_path).rows()) == [1, 2]
    assert numbers(open_rows(tmp_path, split="test").rows()) == [3]
    assert numbers(stream_rows(tmp_path, split="validation")) == [4]
    with pytest.raises(UserError, match="no files of the split 'tset'") as caught:
        open_rows(tmp_path, split="tset")
    assert "test, train, validation" in caught.value.cure
    write(tmp_path / "more.jsonl", 5)
    with pytest.raises(UserError, match=r"more\.jsonl is not"):
        open_rows(tmp_path)


def test_folders_without_data_or_with_several_kinds_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"no data files: notes\.txt"):
        open_rows(tmp_path)
    write(tmp_path / "a.jsonl", 1)
    (tmp_path / "b.csv").write_text("n\n2\n")
    with pytest.raises(UserError, match="several kinds"):
        open_rows(tmp_path)


def test_a_split_of_data_without_splits_is_refused(tmp_path):
    file = write(tmp_path / "rows" / "a.jsonl", 1, 2)
    Dataset.from_list([{"n": 1}, {"n": 2}]).save_to_disk(tmp_path / "saved")
    for path in (file, tmp_path / "rows", tmp_path / "saved"):
        for read in (lambda path, split: open_rows(path, split).rows(), stream_rows):
            assert all(numbers(read(path, split)) == [1, 2] for split in ("train", "validation", "test", "dev"))
            with pytest.raises(UserError, match=r"has no splits, and the split 'tset'") as caught:
                read(path, "tset")
            assert "'test'" in caught.value.cure
