"""Whole runs: every family and precision starts at ln 2 and takes steps; the program checks, trains and exports."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.cli import main
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.pairwise import Dpo
from modalign.core.schedule import Schedule
from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora
from tests.modalities.image.pictures import PIPELINES
from tests.modalities.image.tiny import write_pairs

MakeImage = Callable[..., Image]


def losses(modality: Image, folder: Path, precision: Any, lr: float = 1e-3) -> list[float]:
    """Of two steps of DPO on the same four rows."""
    seed_everything(1, verbose=False)
    data = PreferenceDataModule(ImagePairs(), train=str(write_pairs(folder, 4)), batch_size=4)
    module = PreferenceModule(
        modality, Dpo(500.0), optimizer=lambda p: torch.optim.SGD(p, lr=lr), schedule=Schedule("constant")
    )
    trainer = Trainer(
        max_steps=2,
        accelerator="cpu",
        precision=precision,
        logger=JsonlLogger(str(folder)),
        log_every_n_steps=1,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(module, data)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


PRECISIONS = [("32-true", "float32"), ("bf16-mixed", "float32"), ("32-true", "bfloat16"), ("bf16-mixed", "bfloat16")]
CASES = [(name, *PRECISIONS[1]) for name in PIPELINES] + [("stable_diffusion", *each) for each in PRECISIONS]


@pytest.mark.parametrize(("name", "precision", "dtype"), sorted(set(CASES)))
def test_lora_under_every_precision(image: MakeImage, tmp_path: Path, name: str, precision: str, dtype: str) -> None:
    first, second = losses(image(name, lora=Lora(r=4), draw_cycle=1, dtype=dtype), tmp_path, precision)
    assert first == pytest.approx(math.log(2), rel=0, abs=1e-7)
    assert math.isfinite(second)
    assert second != first


@pytest.mark.parametrize("name", [*PIPELINES, "stable_diffusion_pixels"])
def test_full_training_with_a_frozen_copy(image: MakeImage, tmp_path: Path, name: str) -> None:
    first, second = losses(image(name, draw_cycle=1), tmp_path, "32-true", lr=0.05)
    assert first == pytest.approx(math.log(2), rel=0, abs=1e-6)
    assert second < first


CONFIG = """\
model:
  modality:
    class_path: image
    init_args: {{model: {model}, resolution: 16, lora: {{r: 4}}, timesteps: {{distribution: uniform, high: 0.9}}}}
  objective: {{class_path: dpo, init_args: {{beta: 500}}}}
  optimizer: {{class_path: AdamW, init_args: {{lr: 0.001}}}}
data:
  train: pairs.jsonl
  validation_rows: 2
  batch_size: 2
trainer:
  max_epochs: 1
  accelerator: cpu
  enable_progress_bar: false
  default_root_dir: run
  callbacks:
    - class_path: SampleLog
      init_args: {{sampler: {{class_path: single, init_args: {{options: {{steps: 2}}}}}}, prompts: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline_folder: Callable[[str], Path]) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path, 7)
    (tmp_path / "run.yaml").write_text(CONFIG.format(model=pipeline_folder("stable_diffusion")))
    return tmp_path


def test_the_program_checks_trains_and_exports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from diffusers import DiffusionPipeline

    assert main(["check", "--config", "run.yaml"]) == 0
    assert "no problems" in capsys.readouterr().out
    assert main(["fit", "--config", "run.yaml"]) == 0
    out = capsys.readouterr().out
    assert "exported: run/export" in out.replace(str(folder) + "/", "")
    assert list((folder / "run" / "samples").rglob("*.png"))
    assert "library_name: diffusers" in (folder / "run" / "export" / "README.md").read_text()
    first = DiffusionPipeline.from_pretrained(folder / "run" / "export").unet.state_dict()

    assert main(["export", "run", "--out", "again"]) == 0
    again = DiffusionPipeline.from_pretrained(folder / "again").unet.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert main(["export", "run", "--out", "adapter", "--adapter"]) == 0
    assert (folder / "adapter" / "pytorch_lora_weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--model.modality.resolution", "15"], "modality.resolution is 15, and this model takes multiples of 2"),
        (["--model.modality.crop", "random"], "Set modality.cache: off"),
        (["--model.modality.family", "stable_difusion"], "did you mean 'stable_diffusion'"),
        (["--model.modality.lora.target_modules", "[to_qq]"], "is called 'to_qq'"),
        (["--model.modality.model", "missing/folder/of/a/model"], "There is no folder"),
    ],
)
def test_mistakes_end_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    assert main(["fit", "--config", "run.yaml", *change]) != 0
    shown = capsys.readouterr()
    assert message in " ".join((shown.out + shown.err).split())
    assert "Traceback" not in shown.err
    assert not (folder / "run" / "export").exists()
