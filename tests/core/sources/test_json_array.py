import json
from gzip import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.errors import RowError, UserError
from modalign.core.sources import open_rows, stream_rows

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_every_array_of_objects_is_read_back(tmp_path_factory, rows, indent, ascii_only):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", errors="surrogatepass")
    expected = json.loads(json.dumps(rows))
    if not ascii_only and any("\ud800" <= letter <= "\udfff" for letter in json.dumps(rows, ensure_ascii=False)):
        return
    source = open_rows(path)
    assert [row for _, row in source.rows()] == expected
    assert [row for _, row in stream_rows(path)] == expected


def test_a_broken_object_costs_its_own_row_only(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, {a: 2}, 3, {"a": "}], \\" ["}, {"a": "open}]')
    source = open_rows(path)
    assert (source[0], source[3]) == ({"a": 1}, {"a": '}], " ['})
    for index in (1, 2, 4):
        with pytest.raises(RowError, match="row"):
            source[index]


def test_objects_line_by_line_are_accepted_under_the_name_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert [row["a"] for _, row in open_rows(path).rows()] == [1, 2]


def test_packed(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(compress(b'[{"a": 1}]'))
    assert open_rows(path)[0] == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "neither an array of objects nor one object a line"),
        ('{\n  "data": [{"a": 1}]\n}', "neither an array of objects nor one object a line"),
        ("42", "neither an array"),
        ('[{"a": 1}', "never closed"),
        ('[{"a": "]"', "never closed"),
        ('[{"a": 1}] [2]', "goes on after the end"),
    ],
)
def test_other_content_is_refused_with_a_cure(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        open_rows(path)
    assert caught.value.cure
