"""Every shipped recipe builds, and trains, on a tiny model and rows of its kind."""

import json
from pathlib import Path

import pytest
import yaml

from modalign.cli import main
from modalign.modalities.text.scratch import write_scratch_model

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))
COLOURS = ["red", "green", "blue", "yellow", "white", "black"]


def rows_for(recipe: str) -> list[dict[str, object]]:
    asked = [(f"Is the {colour} ball number {n} round?", colour, n) for n in range(4) for colour in COLOURS]
    match recipe:
        case "text/sft":
            return [{"prompt": q, "completion": f" Yes, the {colour} one is."} for q, colour, _ in asked]
        case "text/kto":
            return [{"prompt": q, "completion": f" Yes, {n} {colour}.", "label": n % 2 == 0} for q, colour, n in asked]
        case "text/hh-rlhf":
            turn = "\n\nHuman: {}\n\nAssistant: {}"
            return [{"chosen": turn.format(q, "Yes."), "rejected": turn.format(q, f"No, {n}.")} for q, _, n in asked]
        case _:
            return [{"prompt": q, "chosen": f" Yes, {colour}.", "rejected": f" No {n}."} for q, colour, n in asked]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [json.dumps(row) for row in rows_for("text/dpo")]
    folder = tmp_path_factory.mktemp("recipes") / "model"
    return write_scratch_model(texts, folder, vocab_size=300, hidden_size=16, layers=1, heads=2, max_positions=128)


def stand_ins(recipe: str, model: Path, folder: Path) -> list[str]:
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows_for(recipe)))
    return [
        *["--config", str(CONFIGS / f"{recipe}.yaml"), "--data.train", str(data), "--data.validation_rows", "4"],
        *["--model.modality.model", str(model), "--model.modality.max_length", "120", "--data.workers", "0"],
        *["--trainer.default_root_dir", str(folder / "run"), "--trainer.accelerator", "cpu"],
    ]


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
    options = ["--trainer.max_steps", "2", "--trainer.accumulate_grad_batches", "2", "--data.batch_size", "2"]
    assert main(["fit", *stand_ins(recipe, tiny_model, tmp_path), *options]) == 0, capsys.readouterr()
    assert (tmp_path / "run" / "export" / "config.json").exists()
    card = (tmp_path / "run" / "export" / "README.md").read_text()
    assert str(tiny_model) in card
