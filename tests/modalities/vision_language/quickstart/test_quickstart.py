"""`modalign quickstart vision-language` from the command line: once small, and once for real."""

from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.modalities.vision_language.quickstart.judging import judge
from modalign.modalities.vision_language.quickstart.scenes import Thing
from tests.modalities.quickstart import running

TRAINED = ("SFT on the chosen", "DPO, coin", "DPO", "rDPO, coin", "rDPO", "mDPO, coin", "mDPO")
POLICIES = ("start", *TRAINED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    options = [*running.SMALL, "--methods", "dpo,rdpo,mdpo", "--processes", "1"]
    return running.run_quickstart("vision-language", tmp_path_factory.mktemp("quickstart") / "run", *options)


def test_prints_progress_examples_table_conclusions_and_next_steps(run: Path) -> None:
    output = running.printed(run)
    running.assert_one_row_each(output, POLICIES, above="hallucinated")
    for policy in TRAINED:
        assert output.count(f" s] seed 7: {policy}: ") == 1
    assert output.count("In the picture: ") == 2
    for policy in ("start", "DPO", "rDPO", "mDPO"):
        assert sum(line.startswith(f"  {policy}: ") for line in output.splitlines()) == 2
    assert "Seeds 7. Measured on 4 unseen pictures" in output
    assert "the known scene says which description is chosen" in output


def test_results_are_written_for_machines(run: Path) -> None:
    results = running.results_of(run)
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
    scenes = {row["image"]: row for row in running.rows_of(run / "scenes.jsonl")}
    uses = [row["for"] for row in scenes.values()]
    assert {use: uses.count(use) for use in uses} == {"described": 128, "ranked": 12, "held_out": 8, "unseen": 4}
    pairs, coins = (running.rows_of(run / "seed-7" / f"{name}.jsonl") for name in ("pairs", "coin_pairs"))
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

    output = running.printed(run)
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
    aligned = run / "seed-7" / "aligned" / "mdpo"
    first, second, start = running.fit_again(run, "mdpo", aligned, "model.safetensors", monkeypatch)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    moved = {name for name in first if not torch.equal(first[name], start[name])}
    # The tower and its projector stay as they are; the language model learns.
    assert moved
    assert all("vision_tower" not in name and "multi_modal_projector" not in name for name in moved)


def test_the_printed_command_is_one_that_fit_understands(run: Path) -> None:
    assert running.printed_command(run).model.objective.init_args.beta == 0.1


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
    running.assert_refused(name, options, told, tmp_path / "run", capsys)


@pytest.mark.slow
def test_hallucinations_become_fewer(tmp_path: Path) -> None:
    """One seed and one method of the whole demonstration, beside its controls."""
    run = running.run_quickstart("vision-language", tmp_path / "run", "--seeds", "1", "--methods", "rdpo")
    policies = running.results_of(run)["policies"]
    rates = {policy: policies[policy]["rate"]["mean"] for policy in policies}
    recalls = {policy: policies[policy]["recall"]["mean"] for policy in policies}
    assert 0.2 < rates["start"] < 0.65
    assert rates["rDPO"] < min(rates["start"], rates["rDPO, coin"]) - 0.05
    assert recalls["rDPO"] > recalls["start"] - 0.15
