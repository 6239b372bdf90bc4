"""Sounds through the program: a run with samples, its export, `modalign generate`, and what `check` refuses."""

import json
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image as Picture

from modalign.cli import main
from modalign.core.response_files import read_rows
from modalign.modalities.audio import window
from tests.modalities.audio.training import RATE, write_pairs
from tests.sounds import noise, save, write_jsonl

SAMPLING = {"steps": 2, "guidance_scale": 2.0}


def config(pipeline: Path, **options: Any) -> dict[str, Any]:
    samples = {
        "class_path": "SampleLog",
        "init_args": {
            "sampler": {"class_path": "single", "init_args": {"options": SAMPLING}},
            "rewards": {"silence": {"class_path": "silence"}},
            "prompts": 2,
        },
    }
    return {
        "model": {
            "modality": {"class_path": "audio", "init_args": {"model": str(pipeline), **options}},
            "objective": {"class_path": "dpo", "init_args": {"beta": 500}},
            "optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.01}},
        },
        "data": {"train": "pairs.jsonl", "batch_size": 3, "validation_rows": 2},
        "trainer": {"max_steps": 2, "accelerator": "cpu", "default_root_dir": "run", "callbacks": [samples]},
    }


@pytest.fixture(scope="module")
def finished(audio_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a finished run in it."""
    folder = tmp_path_factory.mktemp("commands")
    write_pairs(folder, 8)
    (folder / "run.yaml").write_text(yaml.safe_dump(config(audio_folder("waveform.tangoflux"))))
    (folder / "prompts.txt").write_text("a low tone\nnoise then beeps\n")
    with chdir(folder):
        assert main(["fit", "--config", "run.yaml"]) == 0
        yield folder


def test_a_run_lets_its_samples_be_heard_beside_those_before_training(finished: Path) -> None:
    folder = finished / "run" / "samples"
    (sheet,) = folder.glob("step-*.png")
    assert Picture.open(sheet).width > 2 * 320
    before, after = (read_rows(folder / f"{name}.jsonl") for name in ("base", sheet.stem))
    assert [row["prompt"] for row in before] == [row["prompt"] for row in after]
    contents = [(folder / row["file"]).read_bytes() for row in before + after]
    assert len(set(contents)) == 4
    for row in before + after:
        info = soundfile.info(folder / row["file"])
        assert (info.samplerate, info.channels, info.frames) == (RATE, 2, 1024)
        assert -1 <= row["silence"] <= 0
    logged = [json.loads(line) for line in (finished / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("val/samples/base/silence" in row for row in logged)


def test_a_run_reports_how_many_rows_are_truncated(finished: Path) -> None:
    report = json.loads((finished / "run" / "data_report.json").read_text())
    assert {name: report["train"][name] for name in ("read", "kept", "skipped", "comparisons", "truncated")} == {
        "read": 8,
        "kept": 8,
        "skipped": 0,
        "comparisons": 8,
        "truncated": 8,
    }


def test_generate_from_the_run_and_from_its_export(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sampling = [f"{name}={value}" for name, value in SAMPLING.items()]
    common = ["--prompts", "prompts.txt", "--rewards", "silence", "--sampling", *sampling]
    assert main(["generate", "run", "--out", "made", *common]) == 0
    assert "silence" in capsys.readouterr().out
    folder = ["--model", "run/export", "--modality", "audio", "--out", "again"]
    assert main(["generate", *folder, *common]) == 0
    assert Picture.open("made/contact_sheet.png").width > 2 * 320
    rows = read_rows(finished / "made" / "generations.jsonl")
    assert len(rows) == 4
    aligned = [row for row in rows if row["policy"] == "aligned"]
    for one, other in zip(aligned, read_rows(finished / "again" / "generations.jsonl"), strict=True):
        first, second = (
            soundfile.read(finished / name / row["file"])[0] for name, row in (("made", one), ("again", other))
        )
        assert abs(first).max() > 0.01
        np.testing.assert_allclose(second, first, rtol=0, atol=1.1 / 2**15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 60.0}, "seconds is 60"),
        ({"short": "error"}, "too short"),
    ],
)
def test_check_refuses(
    finished: Path,
    audio_folder: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    message: str,
) -> None:
    settings = config(audio_folder("waveform.tangoflux"), **options)
    settings["trainer"].pop("callbacks")
    if message == "too short":
        settings["data"]["train"] = str(short_pairs(finished))
    (finished / "bad.yaml").write_text(yaml.safe_dump(settings))
    assert main(["check", "--config", "bad.yaml"]) != 0
    told = capsys.readouterr()
    assert message in told.out + told.err


@pytest.mark.parametrize("cache", ["disk", "off"])
def test_rows_with_sounds_that_are_cut_are_counted(
    audio_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cache: str,
) -> None:
    """The window is of 0.128 seconds; the last row names a file that is missing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "cache"))
    for name, seconds in (("short", 0.05), ("fits", 0.128), ("long", 0.3)):
        save(noise(seconds, 2 * RATE), tmp_path / f"{name}.wav")
    names = [("short", "fits"), ("fits", "long"), ("long", "short"), ("gone", "long")]
    rows = [{"prompt": "noise", "chosen": f"{one}.wav", "rejected": f"{other}.wav"} for one, other in names]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    settings = config(audio_folder("waveform.tangoflux"), crop="center" if cache == "disk" else "random", cache=cache)
    settings["data"] |= {"validation_rows": 0, "on_bad_row": "skip"}
    settings["trainer"].pop("callbacks")
    Path("run.yaml").write_text(yaml.safe_dump(settings))
    if cache == "disk":
        assert main(["cache", "--config", "run.yaml"]) == 0
        capsys.readouterr()
        monkeypatch.setattr(window, "read_clip", None)  # nothing is decoded
    assert main(["check", "--config", "run.yaml"]) == 0
    told = capsys.readouterr().out
    assert "4 rows read, 3 kept, 1 skipped (a file cannot be read: 1)" in told
    assert "3 comparisons, 2 truncated" in told


def short_pairs(folder: Path) -> Path:
    from tests.sounds import pairs_file

    return pairs_file(folder / "short", 4, 0.02, RATE)
