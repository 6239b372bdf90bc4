"""Every shipped recipe builds, and trains, on a tiny model and rows of its kind."""

import json
from pathlib import Path

import pytest
import yaml

from modalign.cli import main
from tests.recipes import CONFIGS, stand_ins

RECIPES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))


def test_there_are_recipes() -> None:
    wanted = {"sft", "dpo", "dpo-lora", "simpo", "orpo", "kto", "ipo", "robust-dpo", "hh-rlhf"}
    assert {f"text/{name}" for name in wanted} <= set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_opens_with_its_command(recipe: str) -> None:
    text = (CONFIGS / f"{recipe}.yaml").read_text()
    head = text[: text.index("\nseed_everything")]
    assert f"modalign fit --config configs/{recipe}.yaml" in head
    assert yaml.safe_load(text)["trainer"]["default_root_dir"].startswith("runs/")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_checks(recipe: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *stand_ins(recipe, tiny_model, tmp_path)]) == 0, capsys.readouterr()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains(recipe: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.max_steps", "3", "--trainer.accumulate_grad_batches", "2", "--data.batch_size", "2"]
    options += ["--trainer.val_check_interval", "4"]
    assert main(["fit", *stand_ins(recipe, tiny_model, tmp_path), *options]) == 0, capsys.readouterr()
    assert (tmp_path / "run" / "export" / "config.json").exists()
    card = (tmp_path / "run" / "export" / "README.md").read_text()
    assert str(tiny_model) in card


def test_the_hh_recipe_samples(tiny_model: Path, tmp_path: Path) -> None:
    options = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--data.batch_size", "2"]
    assert main(["fit", *stand_ins("text/hh-rlhf", tiny_model, tmp_path), *options]) == 0
    samples = sorted((tmp_path / "run" / "samples").iterdir())
    rows = [json.loads(line) for line in samples[-1].read_text().splitlines()]
    assert len(rows) == 4
    assert all(row["prompt"].endswith("Assistant:") and row["brevity"] <= 0 for row in rows)
