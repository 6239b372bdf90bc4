"""Files that rows name or hold."""

from pathlib import Path

import pytest

from modalign.core.content import content_hash
from modalign.core.errors import RowError
from modalign.core.media import Media, MediaSlice, files_of, located
from modalign.core.response_files import line


def test_content_is_read_whole_or_in_parts(tmp_path):
    (tmp_path / "a").write_bytes(b"abcdef")
    for media in (Media(str(tmp_path / "a")), Media("a", b"abcdef"), MediaSlice(str(tmp_path / "a"), None, 1.0, 2.0)):
        assert media.read() == b"abcdef"
        with media.open() as file:
            assert file.seek(2) == 2
            assert file.read(3) == b"cde"


@pytest.mark.parametrize("read", [Media.read, Media.open])
def test_what_cannot_be_read_is_refused_with_its_name(tmp_path, read):
    (tmp_path / "empty").touch()
    for name, problem in (("none", "No such file"), ("", "Is a directory"), ("empty", "a file is empty")):
        with pytest.raises(RowError, match=problem) as caught:
            read(Media(str(tmp_path / name)))
        assert str(tmp_path / name) in caught.value.message
    with pytest.raises(RowError, match="a file is empty: 'the one in the row'"):
        read(Media(data=b""))


def test_slices_are_found_and_located_as_other_files_are():
    part = MediaSlice("a.wav", None, 1.0, 2.0)
    value = [{"audio": part}, (Media("b.wav"),)]
    assert list(files_of(value)) == [part, Media("b.wav")]
    assert located(value, Path("/x")) == [{"audio": MediaSlice("/x/a.wav", None, 1.0, 2.0)}, (Media("/x/b.wav"),)]


def test_parts_of_one_file_are_different_content():
    parts = [Media("a.wav"), *(MediaSlice("a.wav", None, start, end) for start, end in ((0, 1), (0, None), (1, 1)))]
    assert len(set(map(content_hash, parts))) == len(parts)
    assert [line({"prompt": part}) for part in parts] == [
        '{"prompt": "a.wav"}\n',
        '{"prompt": "a.wav#t=0,1"}\n',
        '{"prompt": "a.wav#t=0"}\n',
        '{"prompt": "a.wav#t=1,2"}\n',
    ]
