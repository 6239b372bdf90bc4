"""`quickstart` runs the demonstration that stands beside a modality, anybody's."""

import sys
from pathlib import Path

import pytest

from modalign.commands import quickstart
from modalign.core.errors import UserError
from modalign.plugins.registry import Entry, Plugin, Registry
from tests.cli.conftest import Run


@pytest.fixture
def smells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's modality with a quickstart."""
    package = tmp_path / "smells"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "quickstart.py").write_text("def main(argv):\n    print('sniff', argv)\n    return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugin = Plugin("smells", "smells", "1.0")
    entries = [
        Entry("modality", "smells", "smells.modality:Smells", plugin),
        Entry("modality", "text", "smells.modality:Smells", plugin),
        Entry("modality", "silence", "json.decoder:JSONDecoder", plugin),
    ]
    monkeypatch.setattr(quickstart, "registry", lambda: Registry([plugin], entries))
    monkeypatch.delitem(sys.modules, "smells", raising=False)


@pytest.mark.usefixtures("smells")
def test_a_third_partys_modality(capsys: pytest.CaptureFixture[str]) -> None:
    assert quickstart.main(["smells", "--seeds", "2"]) == 3
    assert capsys.readouterr().out == "sniff ['--seeds', '2']\n"


@pytest.mark.usefixtures("smells")
def test_a_modality_without_one() -> None:
    with pytest.raises(UserError, match=r"the modality 'silence' of plugin 'smells' .* has no quickstart"):
        quickstart.main(["silence"])


def test_a_misspelt_modality(run: Run) -> None:
    ran = run("quickstart", "txt")
    assert ran.status == 2
    assert "did you mean 'text'" in ran.err


@pytest.mark.usefixtures("smells")
@pytest.mark.parametrize("argv", [[], ["--seeds", "2"]])
def test_text_is_the_default(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert quickstart.main(argv) == 3
    assert capsys.readouterr().out == f"sniff {argv}\n"
