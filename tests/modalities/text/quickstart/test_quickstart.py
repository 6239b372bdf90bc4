"""`modalign quickstart text` from the command line: once small, and once for real."""

from pathlib import Path

import pytest
import torch

from tests.modalities.quickstart import running

POLICIES = ("start", "SFT on the chosen", "DPO, coin labels", "DPO")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    return running.run_quickstart("text", tmp_path_factory.mktemp("quickstart") / "run", *running.SMALL)


def test_prints_progress_table_samples_and_next_steps(run: Path) -> None:
    output = running.printed(run)
    running.assert_one_row_each(output, POLICIES)
    for policy in POLICIES:
        assert output.count(f"\n  {policy:<18} ") == 3 + 1
    assert output.count("Unseen prompt: ") == 3
    assert "Seeds 7. Measured on 92 unseen prompts" in output
    assert f'from_pretrained("{run}/seed-7/aligned")' in output


def test_results_are_written_for_machines(run: Path) -> None:
    results = running.results_of(run)
    assert results["seeds"] == [7]
    assert tuple(results["policies"]) == POLICIES
    start = results["policies"]["start"]
    assert (start["kl"]["mean"], start["accuracy"], start["drift"]) == (0.0, 0.5, 0.0)
    for policy in POLICIES:
        reward = results["policies"][policy]["reward"]
        assert reward["low"] < reward["mean"] < reward["high"]
        assert reward["by_seed"] == [{name: reward[name] for name in ("mean", "low", "high")}]
    sizes = results["pairs"][0]["trained_on"]
    assert sizes["rows"] + sizes["ties"] == 276
    assert len(results["conclusions"]) == 5


def test_the_data_is_there_to_be_looked_at(run: Path) -> None:
    rows = {path.stem: running.rows_of(path) for path in (*run.glob("*.jsonl"), *run.glob("seed-7/*.jsonl"))}
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
    aligned = run / "seed-7" / "aligned"
    first, second, start = running.fit_again(run, "dpo", aligned, "model.safetensors", monkeypatch)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert any(not torch.equal(first[name], start[name]) for name in first)


def test_the_printed_command_is_one_that_fit_understands(run: Path) -> None:
    assert running.printed_command(run).model.objective.init_args.beta == 0.1


@pytest.mark.parametrize("options", [["--seeds", "0"], ["--seed", "-1"]])
def test_options_out_of_range_are_refused(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    running.assert_refused("text", options, "--seeds is", tmp_path / "run", capsys)


@pytest.mark.slow
def test_the_gain_is_real(tmp_path: Path) -> None:
    """One seed of the whole demonstration, beside its controls."""
    run = running.run_quickstart("text", tmp_path / "run", "--seeds", "1")
    policies = running.results_of(run)["policies"]
    reward = {policy: policies[policy]["reward"]["by_seed"][0] for policy in POLICIES}
    assert reward["DPO"]["low"] > reward["start"]["high"]
    assert reward["DPO"]["low"] > reward["DPO, coin labels"]["high"]
    assert policies["start"]["correct"]["mean"] > 0.85
    assert policies["DPO"]["correct"]["mean"] > 0.8
    assert policies["DPO"]["wins"]["low"] > 0.7
    assert policies["DPO"]["accuracy"] > 0.85
    assert 0.35 < policies["DPO, coin labels"]["accuracy"] < 0.65
