"""The program on a tiny LLaVA: a run with samples, answers, export, and tasks before and after training."""

import json
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from modalign.cli import main
from modalign.core.response_files import read_rows
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.prompts import question
from tests.forking import run_forked

from .scenes import written

CONFIG = """\
model:
  modality:
    class_path: vision_language
    init_args: {model: MODEL, max_length: 256, lora: {r: 2}, other_image: black}
  objective: dpo
  optimizer: {class_path: AdamW, init_args: {lr: 0.05}}
data:
  format: vision_preference
  train: pairs.jsonl
  validation_rows: 2
  batch_size: 2
trainer:
  max_epochs: 2
  accelerator: cpu
  log_every_n_steps: 1
  default_root_dir: run
  callbacks:
    - class_path: SampleLog
      init_args:
        prompts: 2
        sampler: {class_path: single, init_args: {options: {max_new_tokens: 4}}}
export: {enabled: false}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, vlm_folder: Callable[[str], Path]) -> Path:
    """A folder with images, pairs, prompts, tasks' files and a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "images").mkdir()
    names = [Path(written(folder / "images", seed).path).name for seed in range(6)]
    asked = "What is in the image?"
    pairs = [
        {"prompt": f"{asked} {n}", "images": [f"images/{name}"], "chosen": "2 red circles", "rejected": "a blue square"}
        for n, name in enumerate(names)
    ]
    prompts: list[Any] = [
        {"prompt": asked, "image": f"images/{names[0]}"},
        {"prompt": "Two?", "images": [f"images/{names[1]}", f"images/{names[2]}"]},
        {
            "prompt": [
                {
                    "role": "user",
                    "content": [{"type": "image", "image": f"images/{names[3]}"}, {"type": "text", "text": asked}],
                }
            ]
        },
        {"prompt": "Hello"},
    ]
    pope = [
        {"question_id": n, "image": name, "text": asked, "label": ("yes", "no")[n % 2]} for n, name in enumerate(names)
    ]
    scenes = [{"image": name, "objects": ["circle"]} for name in names]
    for file, rows in {"pairs": pairs, "prompts": prompts, "pope": pope, "scenes": scenes}.items():
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "objects.txt").write_text("circle\nsquare\n")
    (folder / "run.yaml").write_text(CONFIG.replace("MODEL", str(vlm_folder("llava"))))
    with chdir(folder):
        assert main(["fit", "--config", "run.yaml"]) == 0
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run's folder, to work in; new files go to `tmp_path`."""
    monkeypatch.chdir(finished)
    return finished


def figures_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text())["figures"]
    return found


def test_samples_of_a_run_name_their_images(here: Path) -> None:
    base, *later = sorted((here / "run" / "samples").glob("*.jsonl"))
    rows = read_rows(base)
    assert len(rows) == 2
    assert later
    for row in rows:
        image, text = row["prompt"][0]["content"]
        assert Path(image["image"]).parent == here / "images"
        assert Path(image["image"]).is_file()
        assert text["text"].startswith("What is in the image?")
        assert row["response"][0]["role"] == "assistant"


def test_prompts_with_images_are_answered(here: Path, tmp_path: Path) -> None:
    command = ["generate", "run", "--prompts", "prompts.jsonl", "--sampling", "temperature=0", "max_new_tokens=4"]
    assert main([*command, "--out", str(tmp_path / "made"), "--n", "2"]) == 0
    rows = [row for row in read_rows(tmp_path / "made" / "generations.jsonl") if row["policy"] == "base"]
    assert [row["number"] for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    images = [
        [Path(part["image"]).name for part in row["prompt"][0]["content"] if part["type"] == "image"]
        for row in rows[:-2:2]
    ]
    assert images == [["0-48x32.png"], ["1-48x32.png", "2-48x32.png"], ["3-48x32.png"]]
    assert rows[-1]["prompt"] == "Hello"
    modality = VisionLanguage(str(yaml_model(here)), max_length=256)
    asked = question("What is in the image?", [written(tmp_path, 0)])
    ((expected,),) = modality.sample(modality.load(), [asked], temperature=0, max_new_tokens=4)
    assert rows[0]["response"] == expected
    assert isinstance(rows[-1]["response"], str)
    # Completed rather than begun anew: the same prompts, images and all.
    assert main([*command, "--out", str(tmp_path / "made"), "--n", "2"]) == 0
    written(here / "images", 9)
    lines = [json.loads(line) for line in (here / "prompts.jsonl").read_text().splitlines()]
    (tmp_path / "prompts.jsonl").write_text(
        json.dumps({**lines[0], "image": str(here / "images" / "9-48x32.png")}) + "\n"
    )
    other = [word if word != "prompts.jsonl" else str(tmp_path / "prompts.jsonl") for word in command]
    assert main([*other, "--out", str(tmp_path / "made"), "--n", "2"]) == 2


def test_a_prompt_whose_image_is_missing_is_told_before_any_is_answered(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "What?", "image": str(here / "images" / name)} for name in ("0-48x32.png", "gone.png")]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["generate", "run", "--prompts", str(tmp_path / "prompts.jsonl"), "--out", str(tmp_path / "made")]) == 2
    told = capsys.readouterr().err
    assert "prompts.jsonl, row 1: " in told
    assert "gone.png" in told
    assert not (tmp_path / "made").exists()


def test_a_prompt_without_places_for_its_images_is_told(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "<image> or <image>?", "image": str(here / "images" / "0-48x32.png")}]
    (tmp_path / "prompts.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert main(["generate", "run", "--prompts", str(tmp_path / "prompts.jsonl"), "--out", str(tmp_path / "made")]) == 2
    told = capsys.readouterr().err
    assert "prompts.jsonl, row 0, column 'prompt': " in told
    assert "2" in told.partition("column 'prompt': ")[2].partition("->")[0]


def test_an_exported_model_answers_as_the_run_does(here: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    assert main(["export", "run", "--out", str(tmp_path / "merged")]) == 0
    assert main(["export", "run", "--out", str(tmp_path / "adapter"), "--adapter"]) == 0
    assert "base_model" in (tmp_path / "merged" / "README.md").read_text()
    AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    AutoProcessor.from_pretrained(tmp_path / "merged")
    greedy = ["--prompts", "prompts.jsonl", "--sampling", "temperature=0", "max_new_tokens=4"]
    assert main(["generate", "run", *greedy, "--out", str(tmp_path / "run")]) == 0
    said = [row for row in read_rows(tmp_path / "run" / "generations.jsonl") if row["policy"] == "aligned"]
    before = [row for row in read_rows(tmp_path / "run" / "generations.jsonl") if row["policy"] == "base"]
    assert [row["response"] for row in said] != [row["response"] for row in before]
    for name in ("merged", "adapter"):
        model = ["--model", str(tmp_path / name), "--modality", "vision_language", "max_length=256"]
        assert main(["generate", *model, *greedy, "--out", str(tmp_path / f"from {name}")]) == 0
        rows = read_rows(tmp_path / f"from {name}" / "generations.jsonl")
        assert [row["response"] for row in rows] == [row["response"] for row in said]


def test_pope_by_answers(here: Path, tmp_path: Path) -> None:
    command = ["eval", "pope", "run", "--questions", "pope.jsonl", "--images", "images", "--max-new-tokens", "3"]
    ran = run_forked(*command, "--out", str(tmp_path / "pope"))
    assert ran.returncode == 0, ran.stderr
    figures = figures_in(tmp_path / "pope")
    assert list(figures) == ["base", "aligned", "aligned - base"]
    rows = read_rows(tmp_path / "pope" / "rows.jsonl")
    assert [row["question"] for row in rows] == [*range(6), *range(6)]
    for policy in ("base", "aligned"):
        own = [row for row in rows if row["policy"] == policy]
        assert figures[policy]["accuracy"]["value"] == sum(row["said"] == row["label"] for row in own) / 6
        assert figures[policy]["said yes, is yes"]["value"] == sum(row["said"] == row["label"] == "yes" for row in own)
    assert "accuracy" in ran.stdout


def test_pope_by_log_probabilities(here: Path, tmp_path: Path) -> None:
    command = ["eval", "pope", "run", "--questions", "pope.jsonl", "--images", "images", "--by", "logps", "--no-base"]
    assert main([*command, "--out", str(tmp_path / "pope"), "--batch-size", "4"]) == 0
    for row in read_rows(tmp_path / "pope" / "rows.jsonl"):
        assert row["said"] == ("yes" if row["logps"]["yes"] > row["logps"]["no"] else "no")
    assert figures_in(tmp_path / "pope")["aligned"]["unclear"]["value"] == 0


def test_chair_of_a_folder(here: Path, tmp_path: Path, vlm_folder: Callable[[str], Path]) -> None:
    shutil.copytree(vlm_folder("llava"), tmp_path / "model")
    files = ["--scenes", "scenes.jsonl", "--images", "images", "--objects", "objects.txt", "--max-new-tokens", "6"]
    modality = ["--modality", "vision_language", "max_length=256"]
    command = ["eval", "chair", "--model", str(tmp_path / "model"), *modality, *files, "--limit", "3"]
    assert main([*command, "--out", str(tmp_path / "chair")]) == 0
    figures = figures_in(tmp_path / "chair")["aligned"]
    assert list(figures) == ["chair_i", "chair_s", "recall", "words"]
    assert figures["recall"]["of"] == 3


def test_preferences_between_images(here: Path, tmp_path: Path) -> None:
    command = ["eval", "preference", "run", "--data", "pairs.jsonl", "--contrast", "other_image"]
    assert main([*command, "--out", str(tmp_path / "found")]) == 0
    figures = figures_in(tmp_path / "found")
    # Trained on these, from a policy that is its own reference.
    assert figures["aligned"]["chosen > rejected, over base"]["value"] > 0.5
    assert figures["base"]["chosen > chosen@other_image"]["of"] == 6
    rows = read_rows(tmp_path / "found" / "rows.jsonl")
    assert rows[0]["logps"]["chosen"] != rows[0]["logps"]["chosen@other_image"]
    assert rows[0]["sizes"]["chosen"] == rows[0]["sizes"]["chosen@other_image"]


def yaml_model(folder: Path) -> str:
    import yaml

    found: str = yaml.safe_load((folder / "run.yaml").read_text())["model"]["modality"]["init_args"]["model"]
    return found


def test_the_default_modality_of_a_task_is_its_own(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "pope", "--model", yaml_model(here), "--questions", "pope.jsonl", "--images", "images"]
    assert main([*command, "--out", str(tmp_path / "found")]) == 2
    # No text model was looked for: the tiny one takes fewer tokens than the modality does by default.
    assert "max_length is 2048" in capsys.readouterr().err
