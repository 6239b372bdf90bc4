"""`check` and `fit` on a folder of images and a JSONL file: what is counted, what is refused, what is exported."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modalign.cli import main

from .scenes import picture

MakeFolder = Callable[[str], Path]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Eight pairs: one without an image, one whose image has more tokens than the others'."""
    lines = []
    for number in range(8):
        size = (64, 64) if number == 3 else (24, 24)
        picture(number, size).save(tmp_path / f"{number}.png")
        images = [] if number == 5 else [f"{number}.png"]
        lines.append({"prompt": f"Is {number} here?", "images": images, "chosen": "yes", "rejected": "no"})
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "pairs.jsonl"


def arguments(model: Path, rows: Path, *more: str) -> list[str]:
    options = {
        "model.modality": "vision_language",
        "model.modality.model": str(model),
        "model.modality.max_length": "48",
        "model.objective": "dpo",
        "model.optimizer": "torch.optim.AdamW",
        "model.optimizer.lr": "1e-3",
        "data.train": str(rows),
        "data.batch_size": "2",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)] + list(more)


def test_rows_that_are_too_long_are_told_left_out_or_scaled(
    vlm_folder: MakeFolder, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = vlm_folder("qwen2_5_vl")
    assert main(["check", *arguments(model, rows)]) == 1
    told = capsys.readouterr()
    assert "row 3" in told.out + told.err
    assert "the prompt is too long" in told.out + told.err
    assert main(["check", *arguments(model, rows, "--data.on_bad_row", "skip")]) == 0
    assert "8 rows read, 7 kept, 1 skipped" in capsys.readouterr().out
    assert main(["check", *arguments(model, rows, "--model.modality.too_long", "resize")]) == 0
    told = capsys.readouterr()
    assert "8 rows read, 8 kept, 0 skipped" in told.out
    assert "1 truncated" in told.out


def test_mistakes_in_an_image_variant_are_told_in_a_sentence(
    vlm_folder: MakeFolder, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["--model.modality.other_image", "noised", "--model.modality.other_image.step", "5000"]
    for command, status in (("check", 1), ("fit", 2)):
        assert main([command, *arguments(vlm_folder("llava"), rows, *wrong)]) == status
        told = "".join(capsys.readouterr())
        assert "The image variant noised has step 5000.\n" in told
        assert "Give a step from 0 to 999." in told
        assert "Union" not in told
        assert "Namespace" not in told


def test_an_image_variant_without_a_part_is_told(
    vlm_folder: MakeFolder, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model.modality.other_image", "cropped", "--model.modality.max_length", "128"]
    given += ["--data.on_bad_row", "skip"]
    for objective, has_part in (("dpo", False), ("mdpo", True)):
        assert main(["check", *arguments(vlm_folder("llava"), rows, *given, "--model.objective", objective)]) == 0
        assert ("other_image has no part in this run" in capsys.readouterr().out) is not has_part


def test_fit_trains_and_exports_what_transformers_loads(
    vlm_folder: MakeFolder, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    run = [
        "--trainer.max_steps",
        "2",
        "--trainer.accelerator",
        "cpu",
        "--trainer.default_root_dir",
        str(tmp_path / "run"),
    ]
    run += ["--model.modality.too_long", "resize"]
    assert main(["fit", *arguments(vlm_folder("qwen2_5_vl"), rows, *run)]) == 0, capsys.readouterr()
    told = capsys.readouterr()
    assert "weights train; frozen without modality.train_vision: model.visual" in told.out
    assert "eval mode" not in told.out + told.err
    export = tmp_path / "run" / "export"
    before = AutoModelForImageTextToText.from_pretrained(vlm_folder("qwen2_5_vl")).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(export).state_dict()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved
    assert not any(name.startswith("model.visual.") for name in moved)
    assert AutoProcessor.from_pretrained(export).image_processor is not None
