"""The options of a quickstart that compares methods."""

from pathlib import Path

import pytest

from modalign.core.errors import UserError
from modalign.modalities.quickstart.method_options import MethodOptions, add_method_options, read_method_options
from modalign.modalities.quickstart.options import quickstart_parser

METHODS = ("sniff", "whiff", "scent")


def options(folder: Path, *argv: str) -> MethodOptions:
    parser = quickstart_parser("smell", "Smells.")
    add_method_options(parser, METHODS, default=METHODS[:2])
    return read_method_options(parser.parse_args(["--out", str(folder), *argv]), "smell", METHODS)


def test_methods_come_in_their_usual_order_and_once(tmp_path: Path) -> None:
    assert options(tmp_path).methods == ("sniff", "whiff")
    assert options(tmp_path, "--methods", "scent, sniff,scent").methods == ("sniff", "scent")


def test_the_shared_options_are_among_them(tmp_path: Path) -> None:
    found = options(tmp_path, "--seeds", "2", "--smoke", "--processes", "3")
    assert found == MethodOptions(tmp_path, range(2), True, ("sniff", "whiff"), 3)


@pytest.mark.parametrize(
    ("argv", "told"), [(["--methods", "snif"], "'snif' is none"), (["--processes", "0"], "--processes is 0")]
)
def test_what_there_is_not_is_refused(argv: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        options(tmp_path, *argv)
