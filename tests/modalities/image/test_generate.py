"""Pictures of a run and of `modalign generate`, by a real pipeline: base beside policy, averaged LoRA, resumed."""

import json
import os
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image as Picture

from modalign.cli import main
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.callbacks.ema import average_in
from modalign.core.response_files import read_rows
from modalign.modalities.image.modality import Image
from tests.modalities.image.tiny import SIDE, write_pairs

SAMPLING = {"steps": 2, "guidance_scale": 2.0}


def config(pipeline: Path) -> dict[str, object]:
    samples = {
        "class_path": "SampleLog",
        "init_args": {
            "sampler": {"class_path": "single", "init_args": {"options": SAMPLING}},
            "rewards": {"brightness": {"class_path": "brightness"}},
            "prompts": 2,
        },
    }
    options = {"model": str(pipeline), "resolution": SIDE, "cache": "off", "lora": {"r": 2}}
    return {
        "model": {
            "modality": {"class_path": "image", "init_args": options},
            "objective": {"class_path": "dpo", "init_args": {"beta": 500}},
            "optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.05}},
        },
        "data": {"train": "pairs.jsonl", "batch_size": 3, "validation_rows": 2},
        "trainer": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "default_root_dir": "run",
            "callbacks": [{"class_path": "Ema", "init_args": {"decay": 0.5}}, samples],
        },
        "export": {"enabled": False},
    }


@pytest.fixture(scope="module")
def finished(stable_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a finished run in it."""
    folder = tmp_path_factory.mktemp("generate")
    write_pairs(folder, 8)
    (folder / "run.yaml").write_text(yaml.safe_dump(config(stable_diffusion)))
    (folder / "prompts.txt").write_text("a red circle\na cat\n")
    with chdir(folder):
        assert main(["fit", "--config", "run.yaml"]) == 0
        yield folder


def pixels(folder: Path, policy: str) -> list[bytes]:
    return [
        Picture.open(folder / row["file"]).tobytes()
        for row in read_rows(folder / "generations.jsonl")
        if row["policy"] == policy
    ]


def generate(*options: str) -> int:
    sampling = [f"{name}={value}" for name, value in SAMPLING.items()]
    return main(["generate", *options, "--prompts", "prompts.txt", "--sampling", *sampling])


def test_a_run_shows_its_pictures_beside_those_before_training(finished: Path) -> None:
    folder = finished / "run" / "samples"
    steps = sorted(path.stem for path in folder.glob("step-*.png"))
    assert len(steps) == 2
    before, after = (read_rows(folder / f"{name}.jsonl") for name in ("base", steps[-1]))
    for row in before + after:
        assert Picture.open(folder / row["file"]).size == (SIDE, SIDE)
        assert 0 <= row["brightness"] <= 1
    assert [row["brightness"] for row in before] != [row["brightness"] for row in after]
    logged = [json.loads(line) for line in (finished / "run" / "metrics.jsonl").read_text().splitlines()]
    shown = [row for row in logged if "val/samples/base/brightness" in row]
    assert len(shown) == 2
    assert shown[-1]["val/samples/base/brightness"] == pytest.approx(
        sum(row["brightness"] for row in before) / len(before)
    )


def test_the_checkpoint_averages_the_adapter_alone(finished: Path) -> None:
    newest = newest_checkpoint(finished / "run")
    assert newest is not None
    average = average_in(torch.load(newest, weights_only=True))
    assert average
    assert all("lora" in name for name in average)


def test_the_averaged_adapter_before_and_after_and_by_its_export(finished: Path, stable_diffusion: Path) -> None:
    assert generate("run", "--out", "made") == 0
    assert generate("run", "--out", "raw", "--weights", "raw", "--no-base") == 0
    assert Picture.open("made/contact_sheet.png").width > SIDE
    modality = Image(str(stable_diffusion), resolution=SIDE, cache="off")
    base = modality.sample(modality.load(), ["a red circle", "a cat"], **SAMPLING)
    assert pixels(finished / "made", "base") == [drawn.tobytes() for (drawn,) in base]
    aligned = pixels(finished / "made", "aligned")
    assert aligned != pixels(finished / "made", "base")
    assert aligned != pixels(finished / "raw", "aligned")
    assert main(["export", "run", "--out", "exported"]) == 0
    assert generate("--model", "exported", "--modality", "image", f"resolution={SIDE}", "--out", "folder") == 0
    for one, other in zip(pixels(finished / "folder", "aligned"), aligned, strict=True):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 1


def test_a_folder_is_not_continued_with_other_options(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "run", "--out", "begun"]) == 0
    command = ["--model", "begun", "--out", "options", "--modality", "image"]
    assert generate(*command, f"resolution={SIDE}") == 0
    rows = finished / "options" / "generations.jsonl"
    rows.write_text(rows.read_text().splitlines()[0] + "\n")
    capsys.readouterr()
    assert generate(*command, "resolution=8", "dtype=float16") == 2
    said = capsys.readouterr().err
    assert f"modality.resolution: {SIDE} there, 8 now" in said
    assert "modality.dtype: 'float32' there, 'float16' now" in said
    assert len(read_rows(rows)) == 1
    weights = finished / "begun" / "unet" / "diffusion_pytorch_model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    assert generate(*command, f"resolution={SIDE}") == 2
    assert "model's files: " in capsys.readouterr().err


def test_what_only_the_model_knows_is_told_before_the_first_step(
    finished: Path, stable_diffusion_3: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = config(stable_diffusion_3)
    wrong["trainer"]["callbacks"][1]["init_args"]["sampler"]["init_args"]["options"] = {"eta": 0.5}  # type: ignore[index]
    wrong["trainer"]["default_root_dir"] = "third"  # type: ignore[index]
    Path("third.yaml").write_text(yaml.safe_dump(wrong))
    assert main(["fit", "--config", "third.yaml"]) == 1
    said = capsys.readouterr().err
    assert "Sampling: eta is 0.5, and FlowMatchEulerDiscreteScheduler has no eta" in said
    assert "Traceback" not in said
    assert not list(Path("third").rglob("*.ckpt"))


def test_options_of_sampling_are_refused_before_training(
    finished: Path, stable_diffusion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = config(stable_diffusion)
    wrong["trainer"]["callbacks"][1]["init_args"]["sampler"]["init_args"]["options"] = {"stepts": 2}  # type: ignore[index]
    wrong["trainer"]["default_root_dir"] = "other"  # type: ignore[index]
    Path("wrong.yaml").write_text(yaml.safe_dump(wrong))
    assert main(["fit", "--config", "wrong.yaml"]) != 0
    assert "did you mean 'steps'" in capsys.readouterr().err.lower()
    assert not Path("other/metrics.jsonl").exists()
