"""What the program writes down of rows that are scaled down to fit, and of those that it leaves out."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.forking import run_forked
from tests.modalities.vision_language import tiny
from tests.modalities.vision_language.scenes import picture


def write_rows(folder: Path) -> Path:
    """Six pairs: one image is too large, one prompt too long for any image, one has no image to compare."""
    data = tiny.write_pairs(folder, 6)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    picture(0, (64, 64)).save(folder / "large.png")
    rows[0]["images"] = ["large.png"]
    rows[2]["prompt"] *= 30
    rows[4] |= {"images": [], "other_images": None}
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data


def test_the_report_counts_scaled_and_skipped_rows(tmp_path: Path, vlm_folder: Callable[[str], Path]) -> None:
    run = tmp_path / "run"
    options = {
        "model.modality": "vision_language",
        "model.modality.model": vlm_folder("qwen2_5_vl"),
        "model.modality.max_length": 256,
        "model.modality.max_prompt_length": 48,
        "model.modality.too_long": "resize",
        "model.objective": "rdpo_visual",
        "data.train": write_rows(tmp_path),
        "data.on_bad_row": "skip",
        "data.batch_size": 2,
        "trainer.max_epochs": 1,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": run,
        "export.enabled": "false",
    }
    done = run_forked("fit", *(f"--{name}={value}" for name, value in options.items()))
    assert done.returncode == 0, done.stderr
    report = json.loads((run / "data_report.json").read_text())["train"]
    assert {name: report[name] for name in ("read", "kept", "skipped", "comparisons", "truncated")} == {
        "read": 6,
        "kept": 4,
        "skipped": 2,
        "comparisons": 4,
        "truncated": 1,
    }
    assert report["roles"] == dict.fromkeys(("chosen", "rejected", "chosen@other_image"), 4)
    skipped = {row["row"]: row["reason"] for row in report["sources"][0]["skipped_rows"]}
    assert skipped.keys() == {2, 4}
    assert "the prompt is too long" in skipped[2]
    assert "the prompt has no image" in skipped[4]
    assert list(report["skipped_by_reason"].values()) == [1, 1]
