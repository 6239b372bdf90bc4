import io
import json
import multiprocessing
import pickle
import tarfile

import pytest

from modalign.core.errors import RowError, UserError
from modalign.core.sources import TextRow, data_files, open_rows, stream_rows


def shard(path, members, **options):
    """A tar file with these members: names with bytes, text, or a tar type for what is no file."""
    with tarfile.open(path, "w", **options) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content in (tarfile.DIRTYPE, tarfile.SYMTYPE):
                info.type, info.linkname = content, "elsewhere"
                archive.addfile(info)
                continue
            data = content.encode() if isinstance(content, str) else content
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def sample(key, label, image=b"\xff\xd8first", other=b"\xff\xd8second"):
    return [
        (f"{key}.caption.txt", f"a cat {key}\n"),
        (f"{key}.jpg_0.jpg", image),
        (f"{key}.jpg_1.jpg", other),
        (f"{key}.label_0.txt", label),
    ]


def test_neighbours_with_one_name_are_a_row_and_are_decoded_by_their_suffix(tmp_path):
    members = [
        ("a/000.jpg", b"\xff\xd8"),
        ("a/000.txt", "ein Käfer\r\n"),
        ("a/000.json", '{"width": 3, "tags": ["x"]}'),
        ("a/000.meta.json", "[1, 2]"),
        ("a/000.cls", " 7\n"),
        ("a/000.weight.v2.npy", b"\x93NUMPY"),
        ("a/000.seg.v2.PNG", b"\x89PNG"),
        ("a/000.WAV", b"RIFF"),
        ("a/000.chosen.aif", b"FORM"),
    ]
    (row,) = (open_rows(shard(tmp_path / "a.tar", members))[0],)
    assert isinstance(row, TextRow)
    assert row == {
        "jpg": b"\xff\xd8",
        "txt": "ein Käfer",
        "width": 3,
        "tags": ["x"],
        "meta": [1, 2],
        "cls": 7,
        "weight.v2.npy": b"\x93NUMPY",
        "seg.v2": b"\x89PNG",
        "wav": b"RIFF",
        "chosen": b"FORM",
    }


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_rows_come_by_number_and_as_a_stream(tmp_path, format):
    # Names too long for a plain header have one of their own; sizes around a block's are padded differently.
    folder = "f" * (60 if format == tarfile.USTAR_FORMAT else 150)
    members = []
    for number, size in enumerate((0, 1, 511, 512, 513, 5000)):
        members += sample(f"{folder}/{number}", "1", image=bytes([number + 1]) * size)
    path = shard(tmp_path / "a.tar", members, format=format)
    source = open_rows(path)
    rows = [source[index] for index in range(len(source))]
    assert [len(row["jpg_0"]) for row in rows] == [0, 1, 511, 512, 513, 5000]
    assert rows[4]["jpg_0"] == b"\5" * 513
    assert [row["caption"][-1] for row in rows] == list("012345")
    assert list(stream_rows(path)) == list(source.rows()) == list(enumerate(rows))
    assert source.place(3) == (str(path), 3)
    with pytest.raises(IndexError):
        source[6]


def test_folders_hidden_files_and_files_without_a_suffix_are_in_no_row(tmp_path):
    first, second = sample("d/0", "1"), sample("d/1", "0")
    members = [("d", tarfile.DIRTYPE), ("README", "x"), *first[:2], ("d/._0.jpg_0.jpg", "junk"), ("d/0.", "junk")]
    members += [*first[2:], ("LICENSE", "y"), *second, (".DS_Store", "z")]
    path = shard(tmp_path / "a.tar", members)
    plain = shard(tmp_path / "b.tar", first + second)
    assert [row for _, row in open_rows(path).rows()] == [row for _, row in open_rows(plain).rows()]
    assert [row for _, row in stream_rows(path)] == [row for _, row in stream_rows(plain)]
    assert len(open_rows(path)) == 2


def test_the_same_name_in_two_folders_is_two_rows(tmp_path):
    path = shard(tmp_path / "a.tar", [("a/0.txt", "x"), ("b/0.txt", "y")])
    assert [row for _, row in open_rows(path).rows()] == [{"txt": "x"}, {"txt": "y"}]


def test_sources_are_pickled_by_reference_and_shared_after_a_fork(tmp_path):
    source = open_rows(shard(tmp_path / "a.tar", [each for n in range(20) for each in sample(n, "1")]))
    assert pickle.loads(pickle.dumps(source))[7] == source[7]
    assert len(pickle.dumps(source)) < 1000
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(source.__getitem__, range(20)) == [source[n] for n in range(20)]


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (("1.json", "{"), "not valid JSON"),
        (("1.json", "[1]"), "not a JSON object"),
        (("1.meta.json", "nope"), "not valid JSON"),
        (("1.txt", b"\xff\xfe"), "not UTF-8"),
        (("1.cls", "seven"), "not a class: 'seven'"),
        (("1.caption.txt", "again"), "two members for one column"),
        (("1.json", json.dumps({"caption": "again"})), "two members for one column"),
    ],
)
def test_a_broken_member_costs_its_own_row(tmp_path, member, problem):
    path = shard(tmp_path / "a.tar", [*sample("0", "1"), *sample("1", "1"), member, *sample("2", "1")])
    for rows in (list(open_rows(path).rows()), list(stream_rows(path))):
        assert [isinstance(row, RowError) for _, row in rows] == [False, True, False]
        error = rows[1][1]
        assert problem in error.message
        assert error.cure
        assert (error.source, error.row) == (str(path), 1)


def read_both_ways(path):
    for read in (open_rows, lambda path: list(stream_rows(path))):
        with pytest.raises(UserError) as caught:
            read(path)
        yield caught.value


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.77, 0.9])
def test_a_shard_that_breaks_off_is_told(tmp_path, kept):
    path = shard(tmp_path / "a.tar", [each for n in range(40) for each in sample(n, "1", image=b"x" * 700)])
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[: int(len(whole) * kept)])
    for error in read_both_ways(path):
        assert str(path) in error.message
        assert error.cure


def test_a_shard_cut_between_two_members_is_told(tmp_path):
    path = shard(tmp_path / "a.tar", sample("0", "1"))
    with tarfile.open(path) as archive:
        second = archive.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:second])
    assert ["breaks off" in error.message for error in read_both_ways(path)] == [True, True]


def test_what_comes_after_damage_or_after_the_end_is_not_dropped_in_silence(tmp_path):
    path = shard(tmp_path / "a.tar", sample("0", "1") + sample("1", "1"))
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        start = archive.getmembers()[5].offset
    damaged = content.copy()
    damaged[start : start + 100] = b"?" * 100
    path.write_bytes(damaged)
    assert ["is damaged" in error.message for error in read_both_ways(path)] == [True, True]
    path.write_bytes(content + content)
    assert ["goes on after byte" in error.message for error in read_both_ways(path)] == [True, True]


@pytest.mark.parametrize("content", [b"", b"this is no tar file", b"x" * 5000])
def test_what_is_no_tar_file_is_named(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    assert ["cannot be read as a tar file" in error.message for error in read_both_ways(tmp_path / "a.tar")] == [
        True
    ] * 2


def test_links_are_refused(tmp_path):
    path = shard(tmp_path / "a.tar", [*sample("0", "1"), ("1.jpg", tarfile.SYMTYPE)])
    assert ["'1.jpg', which is no file but a link" in error.message for error in read_both_ways(path)] == [True, True]


def test_a_shard_without_samples_has_no_rows(tmp_path):
    path = shard(tmp_path / "a.tar", [])
    assert list(stream_rows(path)) == []
    with pytest.raises(UserError, match="no row that can be read"):
        open_rows(path).columns()


def test_a_folder_of_shards_is_read_as_one(tmp_path):
    for name in ("train-0001", "train-0000", "test-0000"):
        shard(tmp_path / f"{name}.tar", [each for n in range(3) for each in sample(f"{name}-{n}", "1")])
    source = open_rows(tmp_path)
    assert len(source) == 6
    assert source[4]["caption"] == "a cat train-0001-1"
    assert source.place(4) == (str(tmp_path / "train-0001.tar"), 1)
    assert [row for _, row in stream_rows(tmp_path)] == [row for _, row in source.rows()]
    assert len(data_files(tmp_path, "test")) == 1


def test_a_packed_shard_is_refused_with_the_kinds_there_are(tmp_path):
    shard(tmp_path / "a.tar", []).rename(tmp_path / "a.tar.gz")
    with pytest.raises(UserError, match="of no kind that can be read") as caught:
        open_rows(tmp_path / "a.tar.gz")
    assert ".tar" in caught.value.cure
