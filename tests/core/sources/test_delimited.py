import csv
import pickle
from gzip import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.errors import RowError, UserError
from modalign.core.sources import TextRow, open_rows, stream_rows

FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=20)


def texts(rows) -> list[tuple[int, str]]:
    return [(number, str(row)) for number, row in rows]


def test_all_values_are_text_and_the_row_says_so(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,label\nhi,true\n1,\n")
    rows = [row for _, row in open_rows(path).rows()]
    assert rows == [{"prompt": "hi", "label": "true"}, {"prompt": "1", "label": ""}]
    assert all(isinstance(row, TextRow) for row in rows)


@given(st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=8), st.sampled_from([".csv", ".tsv"]))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, records, suffix):
    path = tmp_path_factory.mktemp("csv") / f"a{suffix}"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, dialect="excel" if suffix == ".csv" else "excel-tab")
        writer.writerows([["a", "b"], *records])
    source = open_rows(path)
    assert [[row["a"], row["b"]] for _, row in source.rows()] == records
    assert texts(stream_rows(path)) == texts(source.rows())


def test_a_bad_record_costs_its_own_row_only(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,"x\ny"\n\n2\n3,4,5\n"6"x,7\n8,\xff\n9,10\n')
    source = open_rows(path)
    assert (source[0], source[5]) == ({"a": "1", "b": "x\ny"}, {"a": "9", "b": "10"})
    for index, message in [
        (1, "wrong number of fields: 1 for the 2 columns a, b"),
        (2, "wrong number of fields: 3"),
        (3, "not valid CSV"),
        (4, "not UTF-8"),
    ]:
        with pytest.raises(RowError, match=message) as caught:
            source[index]
        assert caught.value.cure
        assert str(caught.value).startswith(f"{path}, row {index}")
    assert texts(stream_rows(path)) == texts(source.rows())


def test_a_quote_that_is_never_closed_is_told_with_the_lines_it_swallows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3,"open\n5,6\n7,8\n')
    source = open_rows(path)
    assert source[0] == {"a": "1", "b": "2"}
    with pytest.raises(RowError, match=r"not valid CSV: .* \(over 3 lines\)"):
        source[1]


def test_fields_longer_than_pythons_own_limit_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"a,b\n{'x' * 200_000},y\n")
    assert len(open_rows(path)[0]["a"]) == 200_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,a\n1,2\n", "a stands twice"),
        ("a,\n1,2\n", "a column has no name"),
        ('a,"b\n', "no usable header"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content)
    for read in (open_rows, lambda path: list(stream_rows(path))):
        with pytest.raises(UserError, match=message):
            read(path)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    assert open_rows(path)[0] == {"a": "1", "b": "2"}
    quoted = tmp_path / "b.csv"
    quoted.write_bytes(b'\xef\xbb\xbf"a",b\n1,2\n')
    assert open_rows(quoted)[0] == {"a": "1", "b": "2"}


def test_packed_and_pickled(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(compress(b"a,b\n1,2\n3,4\n"))
    source = open_rows(path)
    assert source[1] == pickle.loads(pickle.dumps(source))[1] == {"a": "3", "b": "4"}
    assert texts(stream_rows(path)) == texts(source.rows())
