"""The program on files of sounds: check, cache, fit, generate, export."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import MusicgenForConditionalGeneration

from modalign.cli import main
from tests.resuming import ROWS, assert_resumes
from tests.sounds import pair_rows, write_jsonl
from tests.tiny_audio.tokens import RATE

CONFIG = """\
model:
  modality:
    class_path: audio_tokens
    init_args: {{model: {model}, seconds: 0.3, lora: {{r: 4}}}}
  objective: {{class_path: dpo, init_args: {{beta: 0.1}}}}
  optimizer: {{class_path: AdamW, init_args: {{lr: 0.001}}}}
data:
  train: pairs.jsonl
  validation_rows: 2
  batch_size: 2
  workers: {workers}
trainer:
  accelerator: cpu
  max_epochs: 1
  callbacks:
    - class_path: SampleLog
      init_args:
        sampler: {{class_path: single, init_args: {{options: {{seconds: 0.2}}}}}}
        prompts: 2
  default_root_dir: {root}
"""


def write_pairs(folder: Path, rows: int) -> Path:
    return write_jsonl(folder / "pairs.jsonl", pair_rows(folder, rows, seconds=0.2, rate=RATE))


def test_from_a_config_to_sounds(
    tmp_path: Path,
    token_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "cache"))
    write_pairs(tmp_path, 6)
    Path("run.yaml").write_text(CONFIG.format(model=token_folder("musicgen"), root=tmp_path / "run", workers=0))
    assert main(["check", "--config", "run.yaml"]) == 0
    assert main(["cache", "--config", "run.yaml"]) == 0
    assert "sounds to turn into codes" in capsys.readouterr().out
    assert main(["fit", "--config", "run.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "cache: the codes of all" in printed
    assert "6 truncated" in printed
    assert sorted(path.name for path in (tmp_path / "run" / "samples" / "base").iterdir()) == ["000.wav", "001.wav"]
    assert (tmp_path / "run" / "samples" / "base.jsonl").is_file()

    Path("prompts.txt").write_text("a dog\nrain\n")
    options = ["--prompts", "prompts.txt", "--out", "drawn", "--sampling", "seconds=0.2", "top_k=4"]
    assert main(["generate", "run", *options]) == 0
    found = [json.loads(line) for line in Path("drawn/generations.jsonl").read_text().splitlines()]
    assert {row["policy"] for row in found} == {"base", "aligned"}
    assert len(list(Path("drawn").rglob("*.wav"))) == 4
    assert main(["export", "run", "--out", "model"]) == 0
    assert MusicgenForConditionalGeneration.from_pretrained("model").generation_config.guidance_scale == 3.0


@pytest.mark.slow
def test_killed_at_a_random_batch(tmp_path: Path, token_folder: Callable[[str], Path]) -> None:
    options = [
        *["--model.modality", "audio_tokens", "--model.modality.model", str(token_folder("musicgen"))],
        *["--model.modality.disable_dropout", "false", "--model.objective", "dpo", "--model.objective.beta", "0.1"],
        *["--model.reference", "cached", "--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001"],
        *["--data.format", "audio_pairs"],
    ]
    assert_resumes(tmp_path, write_pairs(tmp_path, ROWS), options, 3)
