"""Recipes are listed, shown and copied, from a checkout and from an installed package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from modalign.commands import recipes
from modalign.core.errors import UserError
from tests.cli.conftest import Run

CONFIGS = Path(__file__).parents[2] / "configs"


def test_list_names_every_config_with_a_summary(run: Run) -> None:
    lines = run("recipes", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(
        path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml")
    )
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)


@pytest.mark.parametrize("name", ["text/dpo", "dpo", "text/dpo.yaml", "configs/text/dpo.yaml"])
def test_show(run: Run, name: str) -> None:
    assert run("recipes", "show", name).out == (CONFIGS / "text" / "dpo.yaml").read_text()


def test_an_unknown_name_offers_the_nearest(run: Run) -> None:
    ran = run("recipes", "show", "text/dpp")
    assert ran.status == 2
    assert "did you mean 'text/dpo'" in ran.err


def test_a_name_of_two_modalities_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for modality in ("text", "image"):
        (tmp_path / modality).mkdir()
        (tmp_path / modality / "dpo.yaml").write_text("")
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path)
    with pytest.raises(UserError, match="image/dpo, text/dpo"):
        recipes.find("dpo")


def test_copy(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("recipes", "copy", "simpo").status == 0
    assert (tmp_path / "simpo.yaml").read_text() == (CONFIGS / "text" / "simpo.yaml").read_text()
    ran = run("recipes", "copy", "simpo", "new/mine.yaml")
    assert "modalign fit --config new/mine.yaml" in ran.out
    assert (tmp_path / "new" / "mine.yaml").exists()


def test_copy_overwrites_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "simpo.yaml").write_text("mine")
    ran = run("recipes", "copy", "simpo")
    assert ran.status == 2
    assert "exists already" in ran.err
    assert (tmp_path / "simpo.yaml").read_text() == "mine"


@pytest.mark.parametrize("argv", [["shw"], ["show"], ["copy"], ["list", "dpo"], []])
def test_wrong_arguments(run: Run, argv: list[str]) -> None:
    ran = run("recipes", *argv)
    assert ran.status == 2
    assert "modalign recipes --help" in ran.err


@pytest.mark.slow
def test_the_wheel_holds_the_recipes(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="building the wheel without a network needs hatchling")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(CONFIGS.parent)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    assert "modalign/configs/text/dpo.yaml" in names
    code = "from modalign.commands.recipes import folder; print(folder())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "installed", capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == tmp_path / "installed" / "modalign" / "configs"
