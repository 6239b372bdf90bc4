"""A stranger's package, installed by pip, adds an objective, a format, a reward, families, variants, a task."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from modalign.modalities.text.scratch import write_scratch_model
from modalign.plugins.manager import registry
from tests.forking import run_forked
from tests.recipes import write_pictured

PACKAGE = Path(__file__).parents[1] / "third_party"
pytestmark = pytest.mark.slow
Program = Callable[..., "subprocess.CompletedProcess[str]"]

CONFIG = """\
model:
  modality: {class_path: text, init_args: {model: model, max_length: 64}}
  objective: {class_path: exponential, init_args: {beta: 0.5}}
  optimizer: {class_path: AdamW, init_args: {lr: 0.01}}
data:
  format: two_answers
  train: answers.jsonl
  validation_rows: 8
  batch_size: 4
trainer:
  max_epochs: 2
  accelerator: cpu
  log_every_n_steps: 1
  default_root_dir: run
  callbacks:
    - class_path: SampleLog
      init_args: {sampler: single, prompts: 2, rewards: {vowels: vowels}}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package."""
    pytest.importorskip("hatchling", reason="building the package without a network needs hatchling")
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source)  # a build writes into its source
    target = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


@pytest.fixture
def program(installed: Path, tmp_path: Path) -> Program:
    """The program as it runs where the package is installed."""

    def prepare() -> None:
        os.chdir(tmp_path)
        sys.path.insert(0, str(installed))
        registry.cache_clear()

    def program(*argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return run_forked(*argv, environment=environment, prepare=prepare)

    return program


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Answers of which the one with more vowels is better, a tiny model and a config."""
    draw = random.Random(0)
    rows = []
    for number in range(40):
        words = ["".join(draw.choices(letters, k=4)) for letters in ("aeioux", "bcdfgo")]
        better = draw.choice("ab")
        a, b = words if better == "a" else reversed(words)
        rows.append({"question": f"question {number}?", "a": a, "b": b, "better": better})
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "config.yaml").write_text(CONFIG)
    texts = [json.dumps(row) for row in rows]
    write_scratch_model(texts, tmp_path / "model", vocab_size=280, hidden_size=32, layers=1, heads=2, max_positions=128)
    return tmp_path


def test_plugins_shows_the_package(program: Program) -> None:
    done = program("plugins")
    assert done.returncode == 0
    assert done.stderr == ""
    for name in ("exponential", "two_answers", "vowels", "lumina2", "audioldm", "mirrored", "backwards", "vowel_share"):
        (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == [name]]
        assert "'vowels' (modalign-vowels 0.3.1)" in line


def test_the_program_trains_with_it(program: Program, answers: Path) -> None:
    done = program("fit", "--config", "config.yaml")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (answers / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[0] == pytest.approx(1.0, abs=1e-4)
    assert losses[-1] < 0.9
    assert any("val/samples/vowels" in row for row in rows)
    saved = yaml.safe_load((answers / "run" / "config.yaml").read_text())
    assert saved["model"]["objective"]["class_path"] == "modalign_vowels.objective.Exponential"
    assert saved["data"]["format"]["class_path"] == "modalign_vowels.format.TwoAnswers"


def test_check_reads_its_format(program: Program, answers: Path) -> None:
    with (answers / "answers.jsonl").open("a") as file:
        file.write(json.dumps({"question": "?", "a": "x", "b": "y", "better": "c"}) + "\n")
    done = program("check", "--config", "config.yaml")
    assert done.returncode == 1
    assert "answers.jsonl, row 40, column 'better': better is 'c'" in done.stdout


def test_vision_language_models_see_its_other_image(
    program: Program, tmp_path: Path, vlm_folder: Callable[[str], Path]
) -> None:
    rows = write_pictured(tmp_path, rows=4)
    options = {
        "--model.modality": "vision_language",
        "--model.modality.model": str(vlm_folder("llava")),
        "--model.modality.max_length": "256",
        "--model.modality.other_image": "mirrored",
        "--model.objective": "rdpo_visual",
        "--model.optimizer": "AdamW",
        "--model.optimizer.lr": "0.001",
        "--data.train": str(rows),
        "--data.batch_size": "2",
        "--trainer.max_steps": "1",
        "--trainer.log_every_n_steps": "1",
        "--trainer.accelerator": "cpu",
        "--trainer.default_root_dir": "run",
        "--export.enabled": "false",
    }
    done = program("fit", *(part for option in options.items() for part in option))
    assert done.returncode == 0, done.stderr
    logged = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    first = next(row for row in logged if "loss" in row)
    assert first["loss"] == pytest.approx(2 * 0.693147, rel=1e-4)
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    variant = saved["model"]["modality"]["init_args"]["other_image"]
    assert variant["class_path"] == "modalign_vowels.variant.Mirrored"


def test_models_are_measured_by_its_task(program: Program, answers: Path) -> None:
    (answers / "questions.txt").write_text("question 1?\nquestion 2?\n")
    command = ["eval", "vowel_share", "--model", "model", "--modality", "text", "max_length=64"]
    done = program(*command, "--questions", "questions.txt", "--longest", "20", "--out", "found")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (answers / "found" / "rows.jsonl").read_text().splitlines()]
    letters = [letter for row in rows for letter in row["answer"].lower() if letter.isalpha()]
    figure = json.loads((answers / "found" / "figures.json").read_text())["figures"]["aligned"]["vowels"]
    assert figure["of"] == len(letters) > 0
    assert figure["value"] == pytest.approx(sum(letter in "aeiou" for letter in letters) / len(letters))
    assert "the most tokens of an answer" in program("eval", "vowel_share", "--help").stdout.lower()


def test_its_names_are_offered_and_its_absence_explained(program: Program, answers: Path) -> None:
    done = program("fit", "--config", "config.yaml", "--model.objective", "exponentiel")
    assert done.returncode == 2
    assert "did you mean 'exponential'" in done.stderr
    done = program("fit", "--config", "config.yaml", MODALIGN_DISABLE_PLUGINS="vowels")
    assert done.returncode == 2
    assert "no objective is called 'exponential'" in done.stderr
    assert "blocked by MODALIGN_DISABLE_PLUGINS: vowels" in done.stderr


def test_its_option_is_checked(program: Program, answers: Path) -> None:
    done = program("fit", "--config", "config.yaml", "--model.objective.bta", "1")
    assert done.returncode == 2
    assert "model.objective.bta: there is no such option; did you mean beta?" in done.stderr
