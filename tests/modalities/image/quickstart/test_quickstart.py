"""`modalign quickstart image` from the command line: once small, and once for real."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modalign.cli import main
from modalign.modalities.quickstart.stages import one_thread

TRAINED = (
    "SFT on the chosen",
    "Diffusion-DPO, coin",
    "Diffusion-DPO",
    "MaPO, coin",
    "MaPO",
    "Diffusion-KTO, coin",
    "Diffusion-KTO",
    "RankDPO, coin",
    "RankDPO",
)
POLICIES = ("start", *TRAINED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run; what it printed stands in `output.txt`."""
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    methods = ["--methods", "rankdpo,kto,mapo,dpo", "--processes", "1"]
    with pytest.MonkeyPatch.context() as patch, (folder.parent / "output.txt").open("w") as output:
        patch.setattr(sys, "stdout", output)
        argv = ["quickstart", "image", "--smoke", "--seeds", "1", "--seed", "7", "--out", str(folder), *methods]
        assert main(argv) == 0
    return folder


def test_prints_progress_table_conclusions_and_next_steps(run: Path) -> None:
    output = (run.parent / "output.txt").read_text()
    table = output[output.index("Preference:") : output.index("What the numbers say")]
    for policy in POLICIES:
        assert sum(line.strip().startswith(f"{policy}  ") for line in table.splitlines()) == 1
    for policy in TRAINED:
        assert output.count(f" s] seed 7: {policy}: reward ") == 1
    assert "Seeds 7. Measured on 20 pictures a seed, 2 of each digit." in output
    assert f'from_pretrained("{run}/seed-7/aligned/dpo", **absent)' in output
    assert "Loading weights" not in output
    assert "rows read" not in output


def test_results_are_written_for_machines(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["seeds"] == [7]
    assert tuple(results["policies"]) == POLICIES
    start = results["policies"]["start"]
    assert (start["wins"]["mean"], start["accuracy"], start["drift"]) == (0.5, 0.5, 0.0)
    for policy in POLICIES:
        reward = results["policies"][policy]["reward"]
        assert reward["low"] < reward["mean"] < reward["high"]
        assert reward["by_seed"] == [{name: reward[name] for name in ("mean", "low", "high")}]
    (sizes,) = results["preferences"]
    assert sizes["lists"] + sizes["held_out"] + sizes["ties"] == 10 * 3
    assert len(results["conclusions"]) == 4 * 5 + 1


def test_the_data_is_there_to_be_looked_at(run: Path) -> None:
    rows = {path.stem: _rows(path) for path in (*run.glob("*.jsonl"), *run.glob("seed-7/*.jsonl"))}
    assert len(rows["digits"]) == 1797
    assert len(rows["pairs"]) == len(rows["coin_pairs"]) == len(rows["lists"]) == len(rows["coin_lists"])
    for pair, ranked in zip(rows["pairs"], rows["lists"], strict=True):
        brightness = [_brightness(run / "seed-7" / image) for image in ranked["images"]]
        assert brightness == pytest.approx(ranked["scores"], abs=2e-3)
        chosen, rejected = (brightness[ranked["images"].index(pair[name])] for name in ("chosen", "rejected"))
        assert (chosen, rejected) == pytest.approx((max(brightness), min(brightness)), abs=2e-3)
    with Image.open(run / "grid.png") as grid:
        assert grid.height > 10 * 96
        assert grid.width > 5 * 96


def test_the_exported_model_is_sampled_by_plain_diffusers(run: Path) -> None:
    from diffusers import StableDiffusionPipeline

    output = (run.parent / "output.txt").read_text()
    lines = output[output.index("  absent = ") : output.index("Without a VAE")]
    # What the next steps say, word for word.
    known: dict[str, Any] = {"diffusers": sys.modules["diffusers"]}
    exec("\n".join(line[2:] for line in lines.splitlines()), known)
    assert isinstance(known["pipeline"], StableDiffusionPipeline)
    assert known["pixels"].shape == (1, 3, 8, 8)
    assert torch.isfinite(known["pixels"]).all()
    card = (run / "seed-7" / "aligned" / "dpo" / "README.md").read_text()
    assert "library_name: diffusers" in card
    assert "objective `dpo`" in card
    assert "| reward |" in card


def test_every_method_is_exported_and_no_control(run: Path) -> None:
    folders = {path.name for path in (run / "seed-7" / "aligned").iterdir() if path.is_dir()}
    assert folders == {"sft_on_chosen", "dpo", "mapo", "kto", "rankdpo"}


def test_fit_with_the_written_config_gives_the_same_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    again = run.parent / "again"
    config = run / "seed-7" / "dpo" / "config.yaml"
    # The quickstart's processes compute with one thread each; another number rounds otherwise.
    with one_thread():
        assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(again)]) == 0
    folders = (run / "seed-7" / "aligned" / "dpo", again / "export", run / "seed-7" / "start")
    first, second, start = (load_file(each / "unet" / "diffusion_pytorch_model.safetensors") for each in folders)
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(first[name], start[name]) for name in first)


def test_the_printed_command_is_one_that_fit_understands(run: Path) -> None:
    from modalign.commands.lightning_cli import ModalignCLI

    output = (run.parent / "output.txt").read_text()
    command = output[output.index("modalign fit") : output.index("\n\n[")].replace("\\\n", " ")
    options = shlex.split(command)[1:]
    config = ModalignCLI(options[0], options[1:], build=False).config.fit
    assert config.model.modality.init_args.model == "MODEL"
    assert config.data.train == "PAIRS.jsonl"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--methods", "dpo,mapu"], "mapo"),
        (["--processes", "0"], "--processes is 0"),
        (["--seeds", "0"], "--seeds is"),
    ],
)
def test_options_out_of_range_are_refused(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart", "image", *options, "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_gain_is_real(tmp_path: Path) -> None:
    """One seed and one method of the whole demonstration, beside its controls."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "modalign", "quickstart", "image", "--out", str(folder)]
    options = ["--seeds", "1", "--methods", "dpo"]
    subprocess.run([*command, *options], check=True, timeout=900, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    policies = json.loads((folder / "results.json").read_text())["policies"]
    reward = {policy: policies[policy]["reward"]["by_seed"][0] for policy in policies}
    assert reward["Diffusion-DPO"]["low"] > reward["start"]["high"]
    assert reward["Diffusion-DPO"]["low"] > reward["Diffusion-DPO, coin"]["high"]
    assert reward["Diffusion-DPO"]["low"] > reward["SFT on the chosen"]["high"]
    assert policies["start"]["fidelity"]["mean"] > 0.9
    assert policies["Diffusion-DPO"]["fidelity"]["mean"] > 0.85
    assert policies["Diffusion-DPO"]["accuracy"] > 0.85
    assert 0.35 < policies["Diffusion-DPO, coin"]["accuracy"] < 0.65


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _brightness(path: Path) -> float:
    """Rec. 601, by Pillow's own conversion."""
    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).mean()) / 255
