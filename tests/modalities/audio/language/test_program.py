"""The program on a tiny Qwen2-Audio: a run with LoRA and samples, answers to a file of prompts, export."""

import json
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from modalign.cli import main
from modalign.core.response_files import read_rows
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.vision_language.prompts import AUDIO, question

from .rows import clip, write_pairs

CONFIG = """\
model:
  modality:
    class_path: audio_language
    init_args: {model: MODEL, max_length: 256, lora: {r: 2}, other_audio: {class_path: noised, init_args: {snr: -5}}}
  objective: {class_path: mdpo, init_args: {contrast: other_audio}}
  optimizer: {class_path: AdamW, init_args: {lr: 0.05}}
data:
  format: auto
  train: pairs.jsonl
  validation_rows: 2
  batch_size: 2
trainer:
  max_epochs: 1
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
GREEDY = ["--prompts", "prompts.jsonl", "--sampling", "temperature=0", "max_new_tokens=4"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, alm_folder: Callable[[str], Path]) -> Path:
    """A folder with sounds, pairs, prompts and a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    write_pairs(folder, 6)
    sound = "sounds/0.wav"
    prompts: list[Any] = [
        {"prompt": "What is it?", "audio": sound},
        {"prompt": "Alike?", "audios": [sound, "sounds/6.wav"]},
        {
            "prompt": [
                {"role": "user", "content": [{"type": "audio", "path": sound}, {"type": "text", "text": "What?"}]}
            ]
        },
        {"prompt": "Hello"},
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    (folder / "run.yaml").write_text(CONFIG.replace("MODEL", str(alm_folder("qwen2_audio"))))
    with chdir(folder):
        assert main(["fit", "--config", "run.yaml"]) == 0
    return folder


@pytest.fixture
def here(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run's folder, to work in; new files go elsewhere."""
    monkeypatch.chdir(finished)
    return finished


def test_samples_of_a_run_name_their_sounds(here: Path) -> None:
    base, *later = sorted((here / "run" / "samples").glob("*.jsonl"))
    assert later
    for row in read_rows(base):
        sounds = [part["audio"] for part in row["prompt"][0]["content"] if part["type"] == "audio"]
        assert sounds
        assert all(Path(sound).parent == here / "sounds" for sound in sounds)
        assert row["response"][0]["role"] == "assistant"


def test_prompts_with_sounds_are_answered(here: Path, tmp_path: Path, alm_folder: Callable[[str], Path]) -> None:
    assert main(["generate", "run", *GREEDY, "--out", str(tmp_path / "made")]) == 0
    rows = [row for row in read_rows(tmp_path / "made" / "generations.jsonl") if row["policy"] == "base"]
    sounds = [
        [Path(part["audio"]).name for part in row["prompt"][0]["content"] if part["type"] == "audio"]
        for row in rows[:-1]
    ]
    assert sounds == [["0.wav"], ["0.wav", "6.wav"], ["0.wav"]]
    assert rows[-1]["prompt"] == "Hello"
    modality = AudioLanguage(str(alm_folder("qwen2_audio")), max_length=256)
    asked = question("What is it?", [clip(0)], AUDIO)
    ((expected,),) = modality.sample(modality.load(), [asked], temperature=0, max_new_tokens=4)
    assert rows[0]["response"] == expected


def test_a_prompt_whose_sound_is_missing_is_told_before_any_is_answered(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "What?", "audio": str(here / "sounds" / name)} for name in ("0.wav", "gone.wav")]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["generate", "run", "--prompts", str(tmp_path / "prompts.jsonl"), "--out", str(tmp_path / "made")]) == 2
    told = capsys.readouterr().err
    assert "prompts.jsonl, row 1: " in told
    assert "gone.wav" in told
    assert not (tmp_path / "made").exists()


def test_preferences_between_sounds(here: Path, tmp_path: Path) -> None:
    command = ["eval", "preference", "run", "--data", "pairs.jsonl", "--contrast", "other_audio"]
    assert main([*command, "--out", str(tmp_path / "found")]) == 0
    rows = read_rows(tmp_path / "found" / "rows.jsonl")
    assert rows[0]["logps"]["chosen"] != rows[0]["logps"]["chosen@other_audio"]
    assert rows[0]["sizes"]["chosen"] == rows[0]["sizes"]["chosen@other_audio"]


def test_an_exported_model_answers_as_the_run_does(here: Path, tmp_path: Path) -> None:
    assert main(["export", "run", "--out", str(tmp_path / "merged")]) == 0
    assert main(["generate", "run", *GREEDY, "--out", str(tmp_path / "run")]) == 0
    said = {
        policy: [
            row["response"] for row in read_rows(tmp_path / "run" / "generations.jsonl") if row["policy"] == policy
        ]
        for policy in ("base", "aligned")
    }
    assert said["base"] != said["aligned"]
    model = ["--model", str(tmp_path / "merged"), "--modality", "audio_language", "max_length=256"]
    assert main(["generate", *model, *GREEDY, "--out", str(tmp_path / "again")]) == 0
    assert [row["response"] for row in read_rows(tmp_path / "again" / "generations.jsonl")] == said["aligned"]
