"""The README tells the truth: its commands, names and code exist and work."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modalign.cli import main
from modalign.commands.build_tango2 import check_options
from modalign.commands.build_tango2_parser import tango2_parser
from modalign.plugins.hookspecs import modalign_register_objectives
from modalign.plugins.manager import registry
from tests.modalities.image.tiny import write_pairs
from tests.modalities.vision_language.scenes import written
from tests.recipes import SIDE, stand_ins
from tests.sounds import pairs_file
from tests.tiny_audio.mel import tango

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("kind", ["objective", "command"])
def test_every_name_is_in_the_readme(kind: str) -> None:
    for entry in registry().entries(kind):
        assert re.search(rf"`{entry.name}\b", README), f"the {kind} {entry.name} is not in README.md"


@pytest.mark.parametrize("kind", ["format", "reward"])
def test_every_name_of_media_is_in_the_readme(kind: str) -> None:
    homes = tuple(f"modalign.modalities.{modality}." for modality in ("image", "vision_language", "audio"))
    names = [entry.name for entry in registry().entries(kind) if entry.target.startswith(homes)]
    assert len(names) >= 4
    assert [name for name in names if f"`{name}`" not in README] == []


def test_the_formats_are_described() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for folder in re.findall(r"`(modalign/[\w/]+(?:\.py)?)`", README + contributing):
        assert (ROOT / folder).exists(), folder


def test_the_hook_shown_is_a_hook() -> None:
    assert modalign_register_objectives.__name__ in README


def test_the_make_targets_exist() -> None:
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_library_example_runs(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(from lightning.*?)```", README, re.DOTALL)
    stand_ins("text/dpo", tiny_model, tmp_path)
    monkeypatch.chdir(tmp_path)
    changes = {
        'Text("Qwen/Qwen2.5-0.5B-Instruct")': f'Text("{tiny_model}", max_length=120)',
        '"my_pairs.jsonl", validation_rows=256': '"rows.jsonl", validation_rows=4',
        "Trainer(": "Trainer(accelerator='cpu', logger=False, enable_progress_bar=False, ",
    }
    for shown, tiny in changes.items():
        assert shown in code, f"README.md no longer shows {shown}"
        code = code.replace(shown, tiny)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "aligned" / "model.safetensors").exists()


def example_of(modality: str) -> str:
    """The README's config of a modality."""
    examples = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (example,) = (each for each in examples if f"class_path: {modality}\n" in each)
    return str(example)


def test_the_example_of_images_and_text_checks(
    tmp_path: Path, vlm_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [
        {"prompt": "What?", "images": [written(tmp_path, seed).path], "chosen": "a cat", "rejected": "a dog"}
        for seed in range(4)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (tmp_path / "run.yaml").write_text(example_of("vision_language"))
    here = ["--data.train", str(tmp_path / "pairs.jsonl"), "--trainer.default_root_dir", str(tmp_path / "run")]
    tiny = ["--model.modality.model", str(vlm_folder("smolvlm")), "--model.modality.max_length", "256"]
    assert main(["check", "--config", str(tmp_path / "run.yaml"), *here, *tiny]) == 0, capsys.readouterr()


def test_the_image_example_checks(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text(example_of("image"))
    here = ["--data.train", str(write_pairs(tmp_path, 4)), "--trainer.default_root_dir", str(tmp_path / "run")]
    tiny = [
        "--model.modality.model",
        str(pipeline_folder("stable_diffusion_xl")),
        "--model.modality.resolution",
        str(SIDE),
    ]
    assert main(["check", "--config", str(tmp_path / "run.yaml"), *here, *tiny]) == 0, capsys.readouterr()


def test_the_example_of_sounds_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(example_of("audio"))
    here = ["--data.train", str(pairs_file(tmp_path)), "--trainer.default_root_dir", str(tmp_path / "run")]
    tango(tmp_path / "tango")
    tiny = ["--model.modality.model", str(tmp_path / "tango"), "--model.modality.seconds", "0.256"]
    assert main(["check", "--config", str(tmp_path / "run.yaml"), *here, *tiny]) == 0, capsys.readouterr()


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        ("docs/tango2.md", 2),
        ("configs/audio/tangoflux-crpo.yaml", 1),
        ("configs/audio/musicgen-dpo.yaml", 1),
        ("configs/audio/audioldm2-dpo.yaml", 1),
    ],
)
def test_commands_that_build_pairs_of_sounds_are_understood(shown: str, count: int) -> None:
    text = "\n".join(line.removeprefix("#") for line in (ROOT / shown).read_text().splitlines())
    commands = re.findall(r"modalign build tango2 (--.*)", text.replace("\\\n", " "))
    assert len(commands) == count
    for command in commands:
        check_options(tango2_parser().parse_args(shlex.split(command, comments=True)))
