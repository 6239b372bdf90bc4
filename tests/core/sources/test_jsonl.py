import json
import multiprocessing
import pickle
import subprocess
import sys
from gzip import compress
from pathlib import Path

import pytest

from modalign.core.errors import RowError, UserError
from modalign.core.sources import open_rows, stream_rows


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def error_at(source, index: int) -> RowError:
    with pytest.raises(RowError) as caught:
        source[index]
    return caught.value


def test_rows_of_different_types_live_in_one_file(tmp_path):
    source = open_rows(write(tmp_path / "a.jsonl", b'{"a": 1}', b'{"a": "x"}', b'{"a": [null, {"b": 2.5}]}', b""))
    assert [row for _, row in source.rows()] == [{"a": 1}, {"a": "x"}, {"a": [None, {"b": 2.5}]}]


def test_a_broken_line_costs_its_own_row_only(tmp_path):
    lines = [b'{"a": 1}', b'{"a": ', b"[1, 2]", b'"text"', b'{"a": "\xff"}', b"[" * 100_000, b'{"a": 7}']
    path = write(tmp_path / "a.jsonl", *lines)
    source = open_rows(path)
    assert len(source) == 7
    assert (source[0], source[6]) == ({"a": 1}, {"a": 7})
    for index, message in [(1, "not valid JSON"), (2, "a list"), (3, "a str"), (4, "not UTF-8"), (5, "not valid JSON")]:
        error = error_at(source, index)
        assert message in error.message
        assert error.cure
        assert str(error).startswith(f"{path}, row {index}")


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path):
    path = write(tmp_path / "a.jsonl", b"", b'{"a": 1}', b"  ", b"", b'{"a": 4}', b"{", b"", b"")
    source = open_rows(path)
    assert [source.place(index) for index in range(len(source))] == [(str(path), 1), (str(path), 4), (str(path), 5)]
    assert error_at(source, 2).row == 5
    assert [number for number, _ in stream_rows(path)] == [1, 4, 5]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a": 1}\r', b'{"a": 2}\r', b"")
    assert [row["a"] for _, row in open_rows(path).rows()] == [1, 2]
    assert [row["a"] for _, row in stream_rows(path)] == [1, 2]


def test_utf_16_is_refused_with_a_cure(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n', encoding="utf-16")
    with pytest.raises(UserError, match="UTF-16") as caught:
        open_rows(path)
    assert "UTF-8" in caught.value.cure


@pytest.mark.parametrize("pack", [False, True])
def test_map_and_stream_agree(tmp_path, pack):
    lines = [json.dumps({"n": n}).encode() if n % 7 else b"{broken" for n in range(50)] + [b"", b'{"n": "end"}']
    content = b"\n".join(lines)
    path = tmp_path / ("a.jsonl.gz" if pack else "a.jsonl")
    path.write_bytes(compress(content) if pack else content)
    mapped, streamed = list(open_rows(path).rows()), list(stream_rows(path))
    assert [(number, str(row)) for number, row in mapped] == [(number, str(row)) for number, row in streamed]
    assert len(mapped) == 51
    assert sum(isinstance(row, RowError) for _, row in mapped) == 8


def test_gz_is_unpacked_once_and_again_after_a_change(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(compress(b'{"a": 1}\n'))
    assert open_rows(path)[0] == open_rows(path)[0] == {"a": 1}
    assert len(list((tmp_path / "cache" / "unpacked").iterdir())) == 1
    path.write_bytes(compress(b'{"a": 2, "b": 3}\n'))
    assert open_rows(path)[0] == {"a": 2, "b": 3}


@pytest.mark.parametrize("content", [b"no archive", compress(b'{"a": 1}\n' * 1000)[:-20]], ids=["other", "torn"])
def test_a_damaged_archive_is_named_and_leaves_nothing_behind(tmp_path, monkeypatch, content):
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.jsonl\.gz cannot be decompressed"):
        open_rows(path)
    assert list((tmp_path / "cache" / "unpacked").iterdir()) == []
    with pytest.raises(UserError, match=r"a\.jsonl\.gz cannot be read"):
        list(stream_rows(path))


def test_a_file_that_changes_while_in_use_is_noticed(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"a": 1}', b'{"a": 2}')
    source = open_rows(path)
    path.write_bytes(b'{"other": 1}\n')
    with pytest.raises(UserError, match="changed"):
        source[0]
    path.unlink()
    with pytest.raises(UserError, match="changed or removed"):
        source[0]


def test_rows_outside_the_file_end_in_an_index_error(tmp_path):
    source = open_rows(write(tmp_path / "a.jsonl", b'{"a": 1}'))
    for index in (-1, 1):
        with pytest.raises(IndexError):
            source[index]


def test_columns_are_those_of_the_first_readable_row_with_its_gaps_filled(tmp_path):
    path = write(tmp_path / "a.jsonl", b"{", b'{"a": null, "b": 1}', b'{"a": null, "c": 3}', b'{"a": "x", "b": 2}')
    assert open_rows(path).columns() == {"a": "x", "b": 1}
    with pytest.raises(UserError, match="no row that can be read"):
        open_rows(write(tmp_path / "b.jsonl", b"{", b"[]")).columns()


def test_a_source_survives_pickling_after_it_was_read(tmp_path):
    source = open_rows(write(tmp_path / "a.jsonl", *(b'{"n": %d}' % n for n in range(9))))
    assert source[3] == {"n": 3}
    copy = pickle.loads(pickle.dumps(source))
    assert [copy[n]["n"] for n in range(9)] == list(range(9))


def test_forked_processes_read_one_source_at_once(tmp_path):
    source = open_rows(write(tmp_path / "a.jsonl", *(b'{"n": %d, "t": "%s"}' % (n, b"x" * n) for n in range(400))))
    assert source[0]["n"] == 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        read = pool.map(source.__getitem__, list(range(400)) * 3, chunksize=5)
    assert [row["n"] for row in read] == list(range(400)) * 3


MEASURE = """
import json, resource, sys
from modalign.core.sources import open_rows
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = open_rows(sys.argv[1])
assert len(source) == 200_000 and source[199_999]["n"] == 199_999
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_200_000_lines_are_opened_in_a_few_megabytes(tmp_path):
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for n in range(200_000):
            file.write(json.dumps({"n": n, "chosen": "c" * 150, "rejected": "r" * 150}) + "\n")
    assert path.stat().st_size > 60_000_000
    grown = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    # 1.6 MB are the index, at 8 bytes a row; the rest is what the allocator takes.
    assert int(grown.stdout) < 8_000
