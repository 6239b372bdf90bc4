"""The prompts of a file."""

import json
from pathlib import Path

import pytest

from modalign.commands.generate_prompts import read_prompts
from modalign.core.errors import RowError
from tests.toy import Letters


def test_lines_without_blank_ones_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffA dog\r\n rain \n\n  \nwind".encode())
    assert read_prompts(file, "prompt", None, Letters()) == ["A dog", "rain", "wind"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": " "}, "row 1: the column 'prompt' is empty\n  -> Write a prompt, or remove the row."),
        ({"prompt": None}, "row 1: the column 'prompt' is empty"),
        (
            {"promt": "wind"},
            "row 1: there is no column 'prompt'\n  -> Name it by --prompt-column; did you mean 'promt'",
        ),
    ],
)
def test_rows_without_a_prompt_are_refused(tmp_path: Path, row: dict[str, str], message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in ({"prompt": "rain"}, row)))
    with pytest.raises(RowError) as refused:
        read_prompts(file, "prompt", None, Letters())
    assert message in str(refused.value)
