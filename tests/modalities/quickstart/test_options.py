"""The options that every quickstart has."""

from pathlib import Path

import pytest

from modalign.core.errors import UserError
from modalign.modalities.quickstart.options import QuickstartOptions, quickstart_parser, read_options


def options(*argv: str) -> QuickstartOptions:
    return read_options(quickstart_parser("smell", "Smells.").parse_args(argv), "smell")


def test_the_first_default_folder_that_is_free_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert options() == QuickstartOptions(Path("runs/quickstart-smell"), range(3), False)
    (tmp_path / "runs" / "quickstart-smell").mkdir(parents=True)
    assert options().folder == Path("runs/quickstart-smell-2")


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    assert options("--out", str(tmp_path), "--seed", "4", "--seeds", "2").seeds == range(4, 6)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="exists already"):
        options("--out", str(tmp_path))


@pytest.mark.parametrize("argv", [["--seeds", "0"], ["--seed", "-1"]])
def test_numbers_out_of_range_are_refused(argv: list[str]) -> None:
    with pytest.raises(UserError, match="--seeds is"):
        options(*argv)
