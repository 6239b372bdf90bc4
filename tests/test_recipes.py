"""Every shipped recipe builds, and trains, on a tiny model and rows of its kind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from modalign.cli import main
from tests.recipes import CONFIGS, pipeline_for, stand_ins, vlm_for, write_sound_model

RECIPES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))
IMAGES = [recipe for recipe in RECIPES if recipe.startswith("image/")]
SOUNDS = [recipe for recipe in RECIPES if recipe.startswith("audio/")]
PICTURED = [recipe for recipe in RECIPES if recipe.startswith("vision_language/")]


@pytest.fixture(scope="module")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From an audio recipe to what stands for its model, written once."""
    root = tmp_path_factory.mktemp("sounds")

    def folder(recipe: str) -> Path:
        place = root / Path(recipe).name
        return place if place.exists() else write_sound_model(recipe, place)

    return folder


@pytest.fixture
def model(
    recipe: str,
    tiny_model: Path,
    pipeline_folder: Callable[[str], Path],
    vlm_folder: Callable[[str], Path],
    sound_folder: Callable[[str], Path],
) -> Path:
    """What stands for the model of the recipe that a test is given."""
    if recipe in SOUNDS:
        return sound_folder(recipe)
    if recipe in PICTURED:
        return vlm_folder(vlm_for(recipe))
    return pipeline_folder(pipeline_for(recipe)) if recipe in IMAGES else tiny_model


def test_there_are_recipes() -> None:
    wanted = {"sft", "dpo", "dpo-lora", "simpo", "orpo", "kto", "ipo", "robust-dpo", "hh-rlhf"}
    assert {f"text/{name}" for name in wanted} <= set(RECIPES)
    wanted = {f"diffusion-dpo-{model}" for model in ("sd15", "sd15-lora", "sdxl", "sdxl-lora", "sd3-lora", "flux-lora")}
    wanted |= {"mapo-sdxl", "mapo-sdxl-lora", "diffusion-kto-sd15", "rankdpo-sdxl"}
    assert {f"image/{name}" for name in wanted} <= set(RECIPES)
    wanted = {"realign-llava15", "mdpo", "mm-dpo", "rlhfv-dense", "rlaifv-dpo", "smolvlm-lora"}
    wanted |= {f"cxr-{objective}" for objective in ("dpo", "lc-dpo", "ipo", "kto", "orpo")}
    assert {f"vision_language/{name}" for name in wanted} <= set(RECIPES)
    wanted = {"tango2", "audioldm2-dpo", "stable-audio-dpo", "tangoflux-crpo", "musicgen-dpo", "qwen2-audio-dpo"}
    assert {f"audio/{name}" for name in wanted} <= set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_opens_with_its_command(recipe: str) -> None:
    text = (CONFIGS / f"{recipe}.yaml").read_text()
    head = text[: text.index("\nseed_everything")]
    assert f"modalign fit --config configs/{recipe}.yaml" in head
    assert yaml.safe_load(text)["trainer"]["default_root_dir"].startswith("runs/")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_checks(recipe: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *stand_ins(recipe, model, tmp_path)]) == 0, capsys.readouterr()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains(recipe: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.max_steps", "3", "--trainer.accumulate_grad_batches", "2", "--data.batch_size", "2"]
    options += ["--trainer.val_check_interval", "4"]
    assert main(["fit", *stand_ins(recipe, model, tmp_path), *options]) == 0, capsys.readouterr()
    export = tmp_path / "run" / "export"
    assert str(model) in (export / "README.md").read_text()
    if recipe in IMAGES:
        assert_loads(export, model)
        assert (tmp_path / "run" / "samples" / "step-0000002.png").exists()
    elif recipe in SOUNDS and (tmp_path / "run" / "samples").exists():
        assert_sounds(export, model, tmp_path / "run" / "samples" / "step-0000002")
    else:
        assert (export / "config.json").exists()


def assert_loads(export: Path, model: Path) -> None:
    """That diffusers reads an export as the pipeline that the model is, with all its parts."""
    from diffusers import DiffusionPipeline

    ours, theirs = (DiffusionPipeline.from_pretrained(folder) for folder in (export, model))
    assert type(ours) is type(theirs)
    assert ours.components.keys() == theirs.components.keys()
    assert {name for name, part in ours.components.items() if part is None} == {
        name for name, part in theirs.components.items() if part is None
    }


def assert_sounds(export: Path, model: Path, samples: Path) -> None:
    """That a run has written sounds, and an export with all the parts of the pipeline that the model is."""
    assert len(list(samples.glob("*.wav"))) == 2
    parts = [json.loads((folder / "model_index.json").read_text()) for folder in (export, model)]
    ours, theirs = ({name for name, part in index.items() if isinstance(part, list)} for index in parts)
    assert ours - {"_class_name"} == theirs - {"_class_name"}


def test_the_hh_recipe_samples(tiny_model: Path, tmp_path: Path) -> None:
    options = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--data.batch_size", "2"]
    assert main(["fit", *stand_ins("text/hh-rlhf", tiny_model, tmp_path), *options]) == 0
    samples = sorted((tmp_path / "run" / "samples").iterdir())
    rows = [json.loads(line) for line in samples[-1].read_text().splitlines()]
    assert len(rows) == 4
    assert all(row["prompt"].endswith("Assistant:") and row["brevity"] <= 0 for row in rows)
