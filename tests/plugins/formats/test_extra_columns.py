"""Columns beside prompt and responses that objectives read: other prompts and ranges that were corrected."""

import json
from typing import Any

import pytest

from modalign.core.errors import RowError
from modalign.plugins.formats.columns import ColumnsFormat
from modalign.plugins.formats.trl_preference import TrlPreference

PAIR = {"prompt": "p", "chosen": "yes", "rejected": "no"}
SPANS = {"chosen": [[0, 2]], "rejected": []}
CHAT = [{"role": "user", "content": "q", "name": None}]


def extra(**columns: Any) -> Any:
    return TrlPreference().parse({**PAIR, **columns})[0].extra


def test_they_come_along_under_their_names() -> None:
    assert extra(other_prompt="q") == {"other_prompt": "q"}
    assert extra(other_prompt=CHAT) == {"other_prompt": [{"role": "user", "content": "q"}]}
    assert extra(corrected_spans=SPANS) == extra(corrected_spans=json.dumps(SPANS)) == {"corrected": SPANS}
    assert extra(other_prompt=None, corrected_spans="") == extra(other_prompt="") == {}


def test_the_columns_format_names_them() -> None:
    format = ColumnsFormat("q", chosen="a", rejected="b", other_prompt="r", corrected_spans="marks")
    (comparison,) = format.parse({"q": "p", "a": "yes", "b": "no", "r": "s", "marks": SPANS})
    assert comparison.extra == {"other_prompt": "s", "corrected": SPANS}


@pytest.mark.parametrize(
    ("column", "value"), [("other_prompt", 3), ("corrected_spans", [[0, 1]]), ("corrected_spans", "{")]
)
def test_values_of_other_types_are_refused(column: str, value: Any) -> None:
    with pytest.raises(RowError) as caught:
        extra(**{column: value})
    assert caught.value.column == column
