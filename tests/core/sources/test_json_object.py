import json
from gzip import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.errors import RowError, UserError
from modalign.core.sources import open_rows, stream_rows

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"))
KEYS = st.text(st.characters(codec="utf-8"))
ROWS = st.dictionaries(KEYS.filter(lambda key: key != "id"), SCALARS | st.lists(SCALARS, max_size=2), max_size=3)


@given(st.dictionaries(KEYS, ROWS, min_size=1, max_size=4), st.sampled_from([None, 2]), st.booleans())
def test_every_object_of_objects_is_read_back(tmp_path_factory, rows, indent, ascii_only):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    expected = [{"id": key, **row} for key, row in rows.items()]
    assert [row for _, row in open_rows(path).rows()] == expected
    assert [row for _, row in stream_rows(path)] == expected


def test_a_row_keeps_an_id_of_its_own(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"7": {"id": 8}, "9": {}}')
    assert [row for _, row in open_rows(path).rows()] == [{"id": 8}, {"id": "9"}]


def test_packed(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.json.gz"
    path.write_bytes(compress(b'{"7": {"a": 1}}'))
    assert open_rows(path)[0] == {"id": "7", "a": 1}


def test_a_broken_row_costs_itself_only(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"1": {"a": 1}, "2": {a: 2}, "\\ud800": {"a": "}"}, "4": {"a": 4} }')
    source = open_rows(path)
    assert (source[0], source[3]) == ({"id": "1", "a": 1}, {"id": "4", "a": 4})
    with pytest.raises(RowError, match=r"row 1.*not valid JSON"):
        source[1]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('{"a": {"b": 1}}\n{"a": {"b": 2}}\n', [{"a": {"b": 1}}, {"a": {"b": 2}}]),
        ('{"chosen": {"b": 1}, "prompt": "x"}', [{"chosen": {"b": 1}, "prompt": "x"}]),
        ("{}", [{}]),
    ],
)
def test_one_object_a_line_stays_rows(tmp_path, content, rows):
    path = tmp_path / "a.json"
    path.write_text(content)
    assert [row for _, row in open_rows(path).rows()] == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1": {"a": 1}', "its object is never closed"),
        ('{\n "1": {"a": 1},\n "2": 3\n}', "nor an object of objects"),
    ],
)
def test_other_objects_are_refused_with_a_cure(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        open_rows(path)
    assert caught.value.cure
