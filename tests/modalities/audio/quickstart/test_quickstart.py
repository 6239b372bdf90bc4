"""`modalign quickstart audio`: a small run of the command, and one seed large enough to learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from modalign.cli import main
from modalign.core.media import Media
from modalign.modalities.audio.quickstart.experiment import Task, align, learn
from modalign.modalities.audio.quickstart.plan import TITLES, Plan
from modalign.modalities.audio.quickstart.sounds import write_captioned
from modalign.modalities.audio.reading.reader import read_clip, sound_info
from modalign.modalities.quickstart.policies import policies
from modalign.modalities.quickstart.stages import one_thread, write_rows
from tests.modalities.quickstart import running

TRAINED = (
    "SFT on the chosen",
    "CRPO, coin",
    "CRPO",
    "Diffusion-DPO, coin",
    "Diffusion-DPO",
    "MaPO, coin",
    "MaPO",
    "Diffusion-KTO, coin",
    "Diffusion-KTO",
)
POLICIES = ("start", *TRAINED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    methods = ["--methods", "kto,mapo,dpo,crpo", "--processes", "1"]
    return running.run_quickstart("audio", tmp_path_factory.mktemp("quickstart") / "run", *running.SMALL, *methods)


def test_prints_progress_table_conclusions_and_next_steps(run: Path) -> None:
    output = running.printed(run)
    running.assert_one_row_each(output, POLICIES)
    for policy in TRAINED:
        assert output.count(f" s] seed 7: {policy}: ") == 1
    assert "Seeds 7. Measured on 36 sounds a seed, 3 of each caption." in output
    assert "SFT on the chosen" in output[output.index("What the numbers say") :]


def test_results_are_written_for_machines(run: Path) -> None:
    results = running.results_of(run)
    assert results["seeds"] == [7]
    assert tuple(results["policies"]) == POLICIES
    start = results["policies"]["start"]
    assert (start["wins"]["mean"], start["accuracy"], start["drift"]) == (0.5, 0.5, 0.0)
    for policy in POLICIES:
        found = results["policies"][policy]
        assert found["reward"]["mean"] + found["swapped"]["mean"] == pytest.approx(found["present"]["mean"])
        assert found["distance"]["mean"] > 0
    assert len(results["conclusions"]) == 4 * 5 + 2
    # Training moved every policy: a stage that takes no step would leave them at the start.
    assert all(results["policies"][policy]["drift"] != 0 for policy in TRAINED)


def test_the_data_is_there_to_be_looked_at(run: Path) -> None:
    rows = {path.stem: running.rows_of(path) for path in (*run.glob("*.jsonl"), *run.glob("seed-7/*.jsonl"))}
    assert {name: len(found) for name, found in rows.items()} == {
        "sounds": 28,
        "pairs": 12,
        "coin_pairs": 12,
        "held_out_pairs": 4,
    }
    for pair, coin in zip(rows["pairs"], rows["coin_pairs"], strict=True):
        assert {pair["chosen"], pair["rejected"]} == {coin["chosen"], coin["rejected"]}
        assert sound_info(Media(str(run / "seed-7" / pair["chosen"]))).seconds == pytest.approx(1.024)


def test_sounds_before_and_after_are_there_to_be_heard_and_seen(run: Path) -> None:
    names = {path.name for path in (run / "before_and_after").iterdir()}
    assert len(names) == 12 * 6
    assert {"a-low-tone-then-fast-beeps---start.wav", "a-low-tone-then-fast-beeps---CRPO.wav"} <= names
    with Image.open(run / "grid.png") as grid:
        assert grid.width > 6 * 300
        assert grid.height > 12 * 128


def test_the_exported_model_is_sampled_by_plain_diffusers(run: Path) -> None:
    import diffusers
    import soundfile

    output = running.printed(run)
    lines = output[output.index("  pipeline = ") : output.index("CRPO on your own pairs")]
    # What the next steps say, word for word.
    known: dict[str, Any] = {"diffusers": diffusers, "soundfile": soundfile}
    exec("\n".join(line[2:] for line in lines.splitlines()), known)
    assert type(known["pipeline"]).__name__ == "TangoFluxPipeline"
    clip = read_clip(Media(str(run / "sound.wav")))
    assert (clip.rate, clip.samples.shape) == (8000, (1, 8192))
    torch.testing.assert_close(clip.samples, known["sound"].clamp(-1, 1), atol=1e-4, rtol=0)
    card = (run / "seed-7" / "aligned" / "crpo" / "README.md").read_text()
    assert "library_name: diffusers" in card
    assert "| reward |" in card


def test_every_method_is_exported_and_no_control(run: Path) -> None:
    folders = {path.name for path in (run / "seed-7" / "aligned").iterdir() if path.is_dir()}
    assert folders == {"sft_on_chosen", "crpo", "dpo", "mapo", "kto"}


def test_fit_with_the_written_config_gives_the_same_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = "transformer/diffusion_pytorch_model.safetensors"
    first, second, start = running.fit_again(run, "crpo", run / "seed-7" / "aligned" / "crpo", weights, monkeypatch)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(first[name], start[name]) for name in first)


def test_the_printed_commands_take_the_settings_of_real_models(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copied,) = (line.split()[1:] for line in running.printed(run).splitlines() if "modalign recipes copy" in line)
    assert main(copied) == 0
    config = running.printed_command(run).model
    # The quickstart's own beta would be no pull at all on latents of TangoFlux's size.
    assert config.objective.init_args.objectives["dpo"].init_args.beta == 1000
    assert config.modality.init_args.cache_folder is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--methods", "dpo,crpu"], "crpo"),
        (["--processes", "0"], "--processes is 0"),
        (["--seeds", "0"], "--seeds is"),
    ],
)
def test_options_out_of_range_are_refused(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running.assert_refused("audio", options, told, tmp_path / "run", capsys)


@pytest.mark.slow
def test_order_is_learned_from_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CRPO beside its coin control, of one seed and at half the size of the command's."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    whole = Plan()
    plan = replace(
        whole,
        learn=replace(whole.learn, length={"max_steps": 240}),
        align={"crpo": replace(whole.align["crpo"], length={"max_steps": 60})},
        captioned=420,
        pairs=144,
        sounds=6,
        held_out=12,
    )
    captioned = write_captioned(tmp_path / "sounds", plan.captioned, plan.right)
    task = Task(tmp_path, plan, write_rows(captioned, tmp_path / "sounds.jsonl"))
    _, coin_policy, crpo_policy = policies(plan.imitate, plan.align, TITLES, ["crpo"])
    with one_thread():
        learned = learn(task, 7)
        coin, crpo = (align(task, learned, policy).measured.means() for policy in (coin_policy, crpo_policy))
    start = learned.measured.means()
    assert crpo["reward"] > max(start["reward"], coin["reward"]) + 0.2
    assert crpo["distance"] < start["distance"] < coin["distance"]
    assert crpo["accuracy"] > 0.9 > coin["accuracy"] + 0.1
