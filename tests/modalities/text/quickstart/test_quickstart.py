"""`modalign quickstart text` from the command line: once small, and once for real."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modalign.cli import main
from modalign.modalities.quickstart.stages import one_thread

POLICIES = ("start", "SFT on the chosen", "DPO, coin labels", "DPO")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run; what it printed stands in `output.txt`."""
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    with pytest.MonkeyPatch.context() as patch, (folder.parent / "output.txt").open("w") as output:
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setattr(sys, "stdout", output)
        assert main(["quickstart", "text", "--smoke", "--seeds", "1", "--seed", "7", "--out", str(folder)]) == 0
    return folder


def test_prints_progress_table_samples_and_next_steps(run: Path) -> None:
    output = (run.parent / "output.txt").read_text()
    table = output[output.index("Preference:") : output.index("What the numbers say")]
    for policy in POLICIES:
        assert sum(line.strip().startswith(f"{policy}  ") for line in table.splitlines()) == 1
        assert output.count(f"\n  {policy:<18} ") == 3 + 1
    assert output.count("Unseen prompt: ") == 3
    assert "Seeds 7. Measured on 92 unseen prompts" in output
    assert f'from_pretrained("{run}/seed-7/aligned")' in output
    assert "Loading weights" not in output
    assert "rows read" not in output


def test_results_are_written_for_machines(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["seeds"] == [7]
    assert tuple(results["policies"]) == POLICIES
    start = results["policies"]["start"]
    assert (start["kl"]["mean"], start["accuracy"], start["drift"]) == (0.0, 0.5, 0.0)
    for policy in POLICIES:
        reward = results["policies"][policy]["reward"]
        assert reward["low"] < reward["mean"] < reward["high"]
        assert reward["by_seed"] == [{name: reward[name] for name in ("mean", "low", "high")}]
    sizes = results["pairs"][0]["trained_on"]
    assert sizes["rows"] + sizes["ties"] == 2 * 276
    assert len(results["conclusions"]) == 5


def test_the_data_is_there_to_be_looked_at(run: Path) -> None:
    rows = {path.stem: _rows(path) for path in (*run.glob("*.jsonl"), *run.glob("seed-7/*.jsonl"))}
    assert set(rows["demonstrations"][0]) == {"prompt", "completion"}
    assert {row["prompt"] for row in rows["held_out_pairs"]} <= {row["prompt"] for row in rows["unseen_prompts"]}
    assert {row["prompt"] for row in rows["pairs"]} <= {row["prompt"] for row in rows["demonstrations"]}
    assert len(rows["coin_pairs"]) == len(rows["pairs"])


def test_the_exported_model_is_an_ordinary_folder(run: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run / "seed-7" / "aligned"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer("Name two birds.\n", return_tensors="pt")
    generated = model.generate(**prompt, max_new_tokens=4, do_sample=False)
    assert generated.shape[1] > prompt["input_ids"].shape[1]
    card = (folder / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "objective `dpo`" in card
    assert "| reward |" in card


def test_fit_with_the_written_config_gives_the_same_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    again = run.parent / "again"
    config = run / "seed-7" / "dpo" / "config.yaml"
    with one_thread():
        assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(again)]) == 0
    first, second = (load_file(f / "model.safetensors") for f in (run / "seed-7" / "aligned", again / "export"))
    start = load_file(run / "seed-7" / "start" / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], start[name]) for name in first)


def test_the_printed_command_is_one_that_fit_understands(run: Path) -> None:
    from modalign.commands.lightning_cli import ModalignCLI

    output = (run.parent / "output.txt").read_text()
    command = output[output.index("modalign fit") : output.index("\n\n[")].replace("\\\n", " ")
    options = shlex.split(command)[1:]
    config = ModalignCLI(options[0], options[1:], build=False).config.fit
    assert config.model.modality.init_args.model == "MODEL"
    assert config.model.objective.init_args.beta == 0.1
    assert config.data.train == "PAIRS.jsonl"


@pytest.mark.parametrize("options", [["--seeds", "0"], ["--seed", "-1"]])
def test_options_out_of_range_are_refused(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["quickstart", "text", *options, "--out", str(tmp_path / "run")]) == 2
    assert "--seeds is" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_gain_is_real_on_every_seed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "modalign", "quickstart", "text", "--out", str(folder)]
    subprocess.run(command, check=True, timeout=900, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    policies = json.loads((folder / "results.json").read_text())["policies"]
    for seed in range(3):
        reward = {policy: policies[policy]["reward"]["by_seed"][seed] for policy in POLICIES}
        assert reward["DPO"]["low"] > reward["start"]["high"]
        assert reward["DPO"]["low"] > reward["DPO, coin labels"]["high"]
    assert policies["start"]["correct"]["mean"] > 0.85
    assert policies["DPO"]["correct"]["mean"] > 0.8
    assert policies["DPO"]["wins"]["low"] > 0.7
    assert policies["DPO"]["accuracy"] > 0.85
    assert 0.35 < policies["DPO, coin labels"]["accuracy"] < 0.65


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
