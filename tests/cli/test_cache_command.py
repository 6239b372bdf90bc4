"""`modalign cache`: tells the cost, fills the caches that `fit` then finds, and says where there is nothing to do."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonargparse import Namespace

from modalign.commands.trainer_settings import ranks
from tests.cli.conftest import Run
from tests.forking import run_forked
from tests.modalities.image.tiny import write_pairs

CONFIG = """\
model:
  modality: {{class_path: image, init_args: {{model: {model}, cache_folder: cache}}}}
  objective: dpo
data: {{train: pairs.jsonl, batch_size: 2}}
trainer: {{max_steps: 2, accelerator: cpu, default_root_dir: run}}
export: {{enabled: false}}
"""


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline_folder: Callable[[str], Path]) -> Path:
    """A working folder with pairs of pictures and a config that trains on them."""
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path, 4)
    (tmp_path / "images.yaml").write_text(CONFIG.format(model=pipeline_folder("stable_diffusion")))
    return tmp_path


def test_a_dry_run_tells_the_cost_and_keeps_nothing(pictures: Path, run: Run) -> None:
    ran = run("cache", "--config", "images.yaml", "--dry-run")
    assert ran.status == 0, ran.err
    assert "cache: 8 images to encode, 1.0 KB each, 8.4 KB in all, in cache/latents-" in ran.out
    assert "cache: 5 prompts to encode, at most 512 bytes each, 2.6 KB in all, in cache/text-" in ran.out
    assert not list(pictures.glob("cache/*/*.safetensors"))


def test_it_fills_what_fit_then_finds(pictures: Path, run: Run) -> None:
    assert "cache: 8 images to encode" in run("cache", "--config", "images.yaml").out
    files = sorted(pictures.rglob("cache/*/*"))
    again = run("cache", "--config", "images.yaml")
    assert again.status == 0
    assert "cache: everything is there, in cache" in again.out
    assert "cache: everything is there, in cache" in run("fit", "--config", "images.yaml").out
    assert sorted(pictures.rglob("cache/*/*")) == files
    about = [json.loads(path.read_text()) for path in pictures.glob("cache/latents-*/about.json")]
    assert about[0]["dtype"] == "float16"


def test_validation_and_test_data_are_encoded_too(pictures: Path, run: Run) -> None:
    lines = (pictures / "pairs.jsonl").read_text().splitlines(keepends=True)
    for name, part in (("a", lines[:2]), ("b", lines[2:3]), ("c", lines[3:])):
        (pictures / f"{name}.jsonl").write_text("".join(part))
    files = ["--data.train", "a.jsonl", "--data.validation", "b.jsonl", "--data.test", "c.jsonl"]
    assert "cache: 8 images to encode" in run("cache", "--config", "images.yaml", *files).out


def test_only_what_the_run_sees_is_encoded(pictures: Path, run: Run) -> None:
    write_pairs(pictures, 40)
    few = ["--config", "images.yaml", "--trainer.max_steps", "3", "--trainer.accumulate_grad_batches", "2"]
    alone = run("cache", *few)
    # 3 steps of 2 batches of 2 rows, and of the 8 probed batches of 2 rows those that are others.
    assert "cache: the run ends after 12 of 40 training rows, counted for 1 rank;" in alone.out
    encoded = int(re.search(r"cache: (\d+) images to encode", alone.out).group(1))  # type: ignore[union-attr]
    assert 2 * 16 <= encoded <= 2 * 28
    assert f"cache: all {encoded} images are encoded" in run("cache", *few).out
    fitted = run("fit", *few)
    assert fitted.status == 0, fitted.err
    assert f"cache: all {encoded} images are encoded" in fitted.out
    two = run("cache", *few, "--trainer.devices", "2")
    assert "cache: the run ends after 24 of 40 training rows, counted for 2 ranks;" in two.out
    longer = run("cache", "--config", "images.yaml", "--trainer.max_steps", "-1", "--trainer.max_epochs", "1")
    assert "of 80 images to encode" in longer.out
    assert "the run ends after" not in longer.out


@pytest.mark.parametrize(
    ("devices", "nodes", "expected"),
    [(1, 1, 1), (4, 2, 8), ([0, 3], 1, 2), ("0,1,2", 2, 6), ("8", 1, 8), ("auto", 3, 3)],
)
def test_ranks_of_a_run(devices: int | str | list[int], nodes: int, expected: int) -> None:
    assert ranks(Namespace(devices=devices, num_nodes=nodes, accelerator="cpu")) == expected


def test_a_stream_is_read_whole(pictures: Path, run: Run) -> None:
    assert "cache: 8 images to encode" in run("cache", "--config", "images.yaml", "--data.streaming", "true").out


def test_where_nothing_is_kept_it_says_so(folder: Path, pictures: Path, run: Run) -> None:
    ran = run("cache", "--config", "run.yaml")
    assert ran.status == 0
    assert "There is nothing to cache: the modality 'letters'" in ran.out
    off = ("--model.modality.cache", "off", "--model.modality.cache_folder", "null")
    assert "There is nothing to cache: the modality 'image'" in run("cache", "--config", "images.yaml", *off).out


def test_mistakes_are_told_as_fit_tells_them(pictures: Path, run: Run) -> None:
    assert run("cache").status == 2
    assert "usage: modalign cache" in run("cache", "--help").out
    misspelt = run("cache", "--config", "images.yaml", "--model.modality.cash", "off")
    assert misspelt.status != 0
    assert "cash" in misspelt.err
    wrong = run("cache", "--config", "images.yaml", "--model.modality.crop", "random")
    assert wrong.status != 0
    assert "crop is random" in wrong.err
    (pictures / "2.png").write_bytes(b"nothing like a picture")
    bad = run("cache", "--config", "images.yaml")
    assert bad.status != 0
    assert "2.png" in bad.err
    assert "Traceback" not in bad.err


@pytest.mark.slow
def test_in_a_process_of_its_own(pictures: Path) -> None:
    ran = run_forked("cache", "--config", "images.yaml")
    assert ran.returncode == 0, ran.stderr
    assert "cache: 8 images to encode" in ran.stdout
    assert len(list(pictures.glob("cache/*/*.safetensors"))) == 2
