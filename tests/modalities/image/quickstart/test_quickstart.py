"""`modalign quickstart image` from the command line: once small, and once for real."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.modalities.quickstart import running

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
    """The folder of a small run of the program itself."""
    methods = ["--methods", "rankdpo,kto,mapo,dpo", "--processes", "1"]
    return running.run_program("image", tmp_path_factory.mktemp("quickstart") / "run", *running.SMALL, *methods)


def test_prints_progress_table_conclusions_and_next_steps(run: Path) -> None:
    output = running.printed(run)
    running.assert_one_row_each(output, POLICIES)
    for policy in TRAINED:
        assert output.count(f" s] seed 7: {policy}: reward ") == 1
    assert "Seeds 7. Measured on 20 pictures a seed, 2 of each digit." in output
    assert f'from_pretrained("{run}/seed-7/aligned/dpo", **absent)' in output


def test_results_are_written_for_machines(run: Path) -> None:
    results = running.results_of(run)
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
    rows = {path.stem: running.rows_of(path) for path in (*run.glob("*.jsonl"), *run.glob("seed-7/*.jsonl"))}
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

    output = running.printed(run)
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
    aligned = run / "seed-7" / "aligned" / "dpo"
    first, second, start = running.fit_again(
        run, "dpo", aligned, "unet/diffusion_pytorch_model.safetensors", monkeypatch
    )
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(first[name], start[name]) for name in first)


def test_the_printed_command_is_one_that_fit_understands(run: Path) -> None:
    running.printed_command(run)


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
    running.assert_refused("image", options, told, tmp_path / "run", capsys)


@pytest.mark.slow
def test_the_gain_is_real(tmp_path: Path) -> None:
    """One seed and one method of the whole demonstration, beside its controls."""
    run = running.run_quickstart("image", tmp_path / "run", "--seeds", "1", "--methods", "dpo")
    policies = running.results_of(run)["policies"]
    reward = {policy: policies[policy]["reward"]["by_seed"][0] for policy in policies}
    assert reward["Diffusion-DPO"]["low"] > reward["start"]["high"]
    assert reward["Diffusion-DPO"]["low"] > reward["Diffusion-DPO, coin"]["high"]
    assert reward["Diffusion-DPO"]["low"] > reward["SFT on the chosen"]["high"]
    assert policies["start"]["fidelity"]["mean"] > 0.9
    assert policies["Diffusion-DPO"]["fidelity"]["mean"] > 0.85
    assert policies["Diffusion-DPO"]["accuracy"] > 0.85
    assert 0.35 < policies["Diffusion-DPO, coin"]["accuracy"] < 0.65


def _brightness(path: Path) -> float:
    """Rec. 601, by Pillow's own conversion."""
    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).mean()) / 255
