"""`modalign quickstart vision-language` from the command line: once small, and once for real."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.cli import main
from modalign.modalities.quickstart.stages import one_thread
from modalign.modalities.vision_language.quickstart.judging import judge
from modalign.modalities.vision_language.quickstart.scenes import Thing

TRAINED = ("SFT on the chosen", "DPO, coin", "DPO", "rDPO, coin", "rDPO", "mDPO, coin", "mDPO")
POLICIES = ("start", *TRAINED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run; what it printed stands in `output.txt`."""
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    options = ["--smoke", "--seeds", "1", "--seed", "7", "--out", str(folder), "--processes", "1"]
    with (folder.parent / "output.txt").open("w") as output:
        command = [sys.executable, "-m", "modalign", "quickstart", "vision-language", *options]
        subprocess.run(command, check=True, timeout=600, stdout=output, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return folder


def test_prints_progress_examples_table_conclusions_and_next_steps(run: Path) -> None:
    output = (run.parent / "output.txt").read_text()
    table = output[output.index("hallucinated") : output.index("What the numbers say")]
    for policy in POLICIES:
        assert sum(line.strip().startswith(f"{policy}  ") for line in table.splitlines()) == 1
    for policy in TRAINED:
        assert output.count(f" s] seed 7: {policy}: ") == 1
    assert output.count("In the picture: ") == 2
    for policy in ("start", "DPO", "rDPO", "mDPO"):
        assert sum(line.startswith(f"  {policy}: ") for line in output.splitlines()) == 2
    assert "Seeds 7. Measured on 4 unseen pictures" in output
    assert "the known scene says which description is chosen" in output
    assert "Loading weights" not in output
    assert "rows read" not in output


def test_results_are_written_for_machines(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["seeds"] == [7]
    assert tuple(results["policies"]) == POLICIES
    start = results["policies"]["start"]
    assert (start["accuracy"], start["drift"], start["kl"]["mean"]) == (0.5, 0.0, 0.0)
    for policy in POLICIES:
        rate = results["policies"][policy]["rate"]
        assert rate["low"] <= rate["mean"] <= rate["high"]
        assert results["policies"][policy]["by_seed"][0]["rate"] == pytest.approx(rate["mean"])
    (sizes,) = results["pairs"]
    assert sizes["train"] + sizes["ties"] == 12
    assert len(results["conclusions"]) == 3 * 5 + 1
    # Training moved every policy: a stage that takes no step would leave them at the start.
    assert all(results["policies"][policy]["drift"] != 0 for policy in TRAINED)


def test_the_data_is_there_to_be_looked_at(run: Path) -> None:
    scenes = {row["image"]: row for row in _rows(run / "scenes.jsonl")}
    uses = [row["for"] for row in scenes.values()]
    assert {use: uses.count(use) for use in uses} == {"described": 128, "ranked": 12, "held_out": 8, "unseen": 4}
    pairs, coins = (_rows(run / "seed-7" / f"{name}.jsonl") for name in ("pairs", "coin_pairs"))
    for pair, coin in zip(pairs, coins, strict=True):
        assert {pair["chosen"], pair["rejected"]} == {coin["chosen"], coin["rejected"]}
        own, neighbour = (scenes[pair[column].removeprefix("../")] for column in ("image", "retrieved_image"))
        assert own["for"] == neighbour["for"] == "ranked"
        assert own["objects"] != neighbour["objects"]
        scene = tuple(Thing(*thing) for thing in own["objects"])
        assert judge(pair["chosen"], scene).mistakes < judge(pair["rejected"], scene).mistakes
        assert (run / "seed-7" / pair["retrieved_image"]).is_file()
    assert (run / "descriptions.png").stat().st_size > 0


def test_the_exported_model_describes_by_plain_transformers(run: Path) -> None:
    import transformers

    output = (run.parent / "output.txt").read_text()
    lines = output[output.index("  model = ") : output.index("rDPO on your own pairs")]
    # What the next steps say, word for word.
    known: dict[str, Any] = {"transformers": transformers}
    exec("\n".join(line[2:] for line in lines.splitlines()), known)
    assert isinstance(known["model"], transformers.LlavaForConditionalGeneration)
    assert isinstance(known["said"], str)
    card = (run / "seed-7" / "aligned" / "mdpo" / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "objective `mdpo`" in card


def test_every_method_is_exported_and_no_control(run: Path) -> None:
    folders = {path.name for path in (run / "seed-7" / "aligned").iterdir() if path.is_dir()}
    assert folders == {"sft_on_chosen", "dpo", "rdpo", "mdpo"}


def test_fit_with_the_written_config_gives_the_same_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    again = run.parent / "again"
    config = run / "seed-7" / "mdpo" / "config.yaml"
    # The quickstart's processes compute with one thread each; another number rounds otherwise.
    with one_thread():
        assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(again)]) == 0
    folders = (run / "seed-7" / "aligned" / "mdpo", again / "export", run / "seed-7" / "start")
    first, second, start = (load_file(each / "model.safetensors") for each in folders)
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-5, atol=1e-6)
    moved = {name for name in first if not torch.equal(first[name], start[name])}
    # The tower and its projector stay as they are; the language model learns.
    assert moved
    assert all("vision_tower" not in name and "multi_modal_projector" not in name for name in moved)


def test_the_printed_command_is_one_that_fit_understands(run: Path) -> None:
    from modalign.commands.lightning_cli import ModalignCLI

    output = (run.parent / "output.txt").read_text()
    command = output[output.index("modalign fit") : output.index("\n\n[")].replace("\\\n", " ")
    options = shlex.split(command)[1:]
    config = ModalignCLI(options[0], options[1:], build=False).config.fit
    assert config.model.modality.init_args.model == "MODEL"
    assert config.model.objective.init_args.beta == 0.1
    assert config.data.train == "PAIRS.jsonl"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--methods", "dpo,mpdo"], "mdpo"),
        (["--processes", "0"], "--processes is 0"),
        (["--seeds", "0"], "--seeds is"),
    ],
)
@pytest.mark.parametrize("name", ["vision-language", "vision_language"])
def test_options_out_of_range_are_refused(
    name: str, options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart", name, *options, "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_hallucinations_become_fewer(tmp_path: Path) -> None:
    """One seed and one method of the whole demonstration, beside its controls."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "modalign", "quickstart", "vision-language", "--out", str(folder)]
    options = ["--seeds", "1", "--methods", "rdpo"]
    subprocess.run([*command, *options], check=True, timeout=1200, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    policies = json.loads((folder / "results.json").read_text())["policies"]
    rates = {policy: policies[policy]["rate"]["mean"] for policy in policies}
    recalls = {policy: policies[policy]["recall"]["mean"] for policy in policies}
    assert 0.2 < rates["start"] < 0.65
    assert rates["rDPO"] < min(rates["start"], rates["rDPO, coin"]) - 0.05
    assert recalls["rDPO"] > recalls["start"] - 0.15


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
