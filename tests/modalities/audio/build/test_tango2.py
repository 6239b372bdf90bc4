"""`modalign build tango2` as a whole: what it writes, resumes and refuses."""

import json
import shutil
import signal
from collections.abc import Callable
from itertools import permutations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from modalign.cli import main
from modalign.core.errors import UserError
from modalign.core.media import Media
from modalign.core.parsing import parse_row
from modalign.core.sources import open_rows
from modalign.modalities.audio.build import tango2
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.clap_score import ClapScore
from modalign.plugins.manager import registry
from tests.cli.conftest import Ran, run  # noqa: F401
from tests.modalities.audio.build.singer import EVENTS, KILL_AFTER, Hears, Singer
from tests.tiny_audio.clap import clap
from tests.tiny_audio.mel import tango

HOME = "tests.modalities.audio.build.singer"
CONFIG = f"model: {{modality: {HOME}.Singer, objective: dpo}}\ndata: {{train: unused.jsonl}}\n"
PROMPTS = [f"{first} then {second}" for first, second in permutations(EVENTS[:4], 2)]
Build = Callable[..., Ran]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "run.yaml").write_text(CONFIG)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    command = ["build", "tango2", "--config", str(tmp_path / "run.yaml"), "--prompts", str(tmp_path / "prompts.txt")]
    return [*command, "--min-score", "0.6", "--min-gap", "0.01"]


@pytest.fixture
def build(
    run: Callable[..., Ran],  # noqa: F811
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Build:
    """Runs it in chunks of five, into `out` unless told otherwise."""
    monkeypatch.setattr(tango2, "PROMPTS_AT_ONCE", 5)
    monkeypatch.setattr(
        "modalign.commands.build_tango2_plan._reward", lambda words, modality: (Hears(), {"reward": words})
    )

    def build(*more: str, out: str = "out") -> Ran:
        return run(*arguments, "--out", str(tmp_path / out), *more)

    return build


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def heard(path: Path, prompt: str) -> float:
    samples, rate = soundfile.read(path, dtype="float32")
    return float(Hears().score([prompt], [Clip(torch.from_numpy(samples)[None], rate)])[0])


def test_pairs_are_those_of_audio_alpaca(build: Build, tmp_path: Path) -> None:
    ran = build("--vary", "steps=1,4")
    assert ran.status == 0, ran.err
    rows = written(tmp_path / "out")
    assert {row["strategy"] for row in rows} == {"inference", "perturbed", "temporal"}
    for row in rows:
        first, second = row["prompt"].split(" then ")
        chosen, rejected = (heard(tmp_path / "out" / row[side], row["prompt"]) for side in ("chosen", "rejected"))
        assert chosen == pytest.approx(row["chosen_score"], abs=0.01)
        assert rejected == pytest.approx(row["rejected_score"], abs=0.01)
        assert row["chosen_score"] >= 0.6
        assert row["rejected_score"] <= row["chosen_score"] - 0.01
        if row["strategy"] == "inference":
            assert row["rejected_prompt"] == row["prompt"]
        elif row["strategy"] == "temporal":
            assert row["rejected_prompt"] == f"{second} then {first}"
            assert row["rejected_score"] < 0.3
        else:
            assert row["rejected_prompt"] not in (row["prompt"], f"{second} then {first}")
        assert row["rejected_sampling"] in ({"steps": 1}, {"steps": 4})
    told = report(tmp_path / "out")
    assert told["prompts"] == len(PROMPTS)
    assert told["pairs"] == len(rows) == sum(each["pairs"] for each in told["strategies"].values())
    best_per_prompt = {(row["prompt"], row["chosen"]) for row in rows}
    assert len(best_per_prompt) == len({prompt for prompt, _ in best_per_prompt})


def test_the_format_of_pairs_of_sounds_reads_them(build: Build, tmp_path: Path) -> None:
    assert build().status == 0
    source = open_rows(tmp_path / "out" / "pairs.jsonl")
    pairs = registry().load("format", "audio_pairs")()
    assert pairs.matches(source.columns())
    for number, row in enumerate(written(tmp_path / "out")):
        (pair,) = parse_row(source[number], pairs, source.place(number))
        assert pair.prompt == row["prompt"]
        for side in ("chosen", "rejected"):
            assert pair.candidate(side).response.read() == (tmp_path / "out" / row[side]).read_bytes()


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(build: Build, tmp_path: Path) -> None:
    assert build().status == 0
    whole = (tmp_path / "out" / "pairs.jsonl").read_bytes()
    journal = (tmp_path / "out" / "chunks.jsonl").read_bytes().splitlines(keepends=True)
    assert len(journal) == 3
    ends = [0, *(json.loads(line)["bytes"] for line in journal)]
    for number, (chunks, extra, torn) in enumerate([(0, 0, 0), (1, 700, 0), (2, 33, 9)]):
        out = tmp_path / f"out{number}"
        shutil.copytree(tmp_path / "out", out)
        (out / "pairs.jsonl").write_bytes(whole[: ends[chunks] + extra])
        (out / "chunks.jsonl").write_bytes(b"".join(journal[:chunks]) + journal[chunks][:torn])
        shutil.rmtree(out / "clips" / "000011")
        assert build(out=out.name).status == 0
        assert (out / "pairs.jsonl").read_bytes() == whole
        for row in written(out):
            assert (out / row["rejected"]).read_bytes() == (tmp_path / "out" / row["rejected"]).read_bytes()


def test_a_real_kill_is_survived(
    build: Build, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KILL_AFTER, str(Singer.sung + 35))
    process = get_context("fork").Process(target=main, args=([*arguments, "--out", str(tmp_path / "killed")],))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    monkeypatch.delenv(KILL_AFTER)
    assert 1 <= len((tmp_path / "killed" / "chunks.jsonl").read_text().splitlines()) < 3
    assert build(out="killed").status == build(out="whole").status == 0
    first, second = ((tmp_path / out / "pairs.jsonl").read_bytes() for out in ("killed", "whole"))
    assert first == second


def test_what_is_done_is_not_done_again(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build().status == 0

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr(Singer, "sample", forbidden)
    monkeypatch.setattr(Singer, "load", forbidden)
    assert build().status == 0


def test_a_build_that_fails_before_its_first_pairs_leaves_nothing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Singer, model: str | None = None) -> Any:
        raise UserError("the model is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Singer, "load", gone)
        assert "the model is gone" in build().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "prompts.txt").write_text("rain\na ghost")
    assert "nobody hears a ghost" in build().err
    assert not (tmp_path / "out").exists()


def test_a_changed_option_or_prompt_is_refused_by_name(build: Build, tmp_path: Path) -> None:
    assert build().status == 0
    ran = build("--min-gap", "0.2", "--losers", "worst")
    assert ran.status == 2
    assert "min_gap: 0.01 there, 0.2 now" in ran.err
    assert "losers: 'all' there, 'worst' now" in ran.err
    (tmp_path / "prompts.txt").write_text("rain then wind")
    assert "prompts: '12, hash" in build().err


def test_what_is_left_out_is_counted(build: Build, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("rain\na dog and a car\na bell then wind\n")
    ran = build("--min-score", "0.99", "--strategies", "temporal", "--samples", "1", "--sampling", "steps=1000")
    assert ran.status == 0, ran.err
    told = report(tmp_path / "out")
    assert told["left_out"] == {"temporal: the caption has no such change": 2}
    assert told["pairs"] == 1
    assert "left out: 2, temporal: the caption has no such change" in ran.out
    assert build("--min-score", "2", out="none").status == 0
    assert report(tmp_path / "none")["left_out"]["the best sound of a prompt scores below the floor"] == 3
    assert written(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--samples", "0"], "--samples is 0"),
        (["--min-gap", "-1"], "--min-gap is -1.0"),
        (["--min-gap", "nan"], "--min-gap is nan"),
        (["--min-score", "inf"], "--min-score is inf"),
        (["--max-rejected-score", "nan"], "--max-rejected-score is nan"),
        (["--strategies", "inference", "--rewrites", "3"], "--rewrites has no effect"),
        (["--strategies", "inference", "--rewriter", "model", "model=x"], "--rewriter has no effect"),
        (["--strategies", "temporal", "temporal"], "names one twice"),
        (["--strategies", "tempural"], "invalid choice: 'tempural'"),
        (["--rewriter", "modle"], "did you mean 'model'"),
        (["--rewriter", "model"], "is not told which model"),
        (["--rewriter", "rules", "model=x"], "--rewriter rules has no options"),
        (["--vary", "steps"], "names no values"),
        (["--vary", "steps=[1,2]"], "--vary steps=[1 is no YAML"),
        (["--vary", "steps=1,2", "--sampling", "steps=3"], "steps is given twice"),
        (["--sampling", "step=3"], "did you mean 'steps'"),
        (["--vary", "step=3"], "did you mean 'steps'"),
        (["--prompts", "none.txt"], "none.txt cannot be read"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(
    build: Build, tmp_path: Path, more: list[str], message: str
) -> None:
    ran = build(*more)
    assert ran.status == 2
    assert message in ran.err
    assert not (tmp_path / "out").exists()


def test_rewards_are_looked_up_and_checked(arguments: list[str], run: Callable[..., Ran], tmp_path: Path) -> None:  # noqa: F811
    out = ["--out", str(tmp_path / "out")]
    assert "did you mean 'clap_score'" in run(*arguments, *out, "--reward", "clap_scor").err
    misspelt = run(*arguments, *out, "--reward", "clap_score", "modle=clap").err
    assert "--reward cannot be built: modle: there is no such option; did you mean model?" in misspelt
    assert "judges text" in run(*arguments, *out, "--reward", "length", "target=8").err
    assert not (tmp_path / "out").exists()


def test_a_model_of_sounds_and_clap_make_pairs_of_every_strategy_to_train_on(
    run: Callable[..., Ran],  # noqa: F811
    tmp_path: Path,
) -> None:
    model, listener, out = tango(tmp_path / "tango"), clap(tmp_path / "clap"), tmp_path / "out"
    (tmp_path / "prompts.txt").write_text("a then b\nc then d\n")
    command = ["build", "tango2", "--model", str(model), "--prompts", str(tmp_path / "prompts.txt"), "--out", str(out)]
    sounds = ["--samples", "4", "--rewrites", "2", "--sampling", "steps=1", "seconds=0.256"]
    judge = ["--reward", "clap_score", f"model={listener}", "--min-score", "-1", "--min-gap", "0.01"]
    ran = run(*command, *sounds, *judge)
    assert ran.status == 0, ran.err
    rows = written(out)
    assert {row["strategy"] for row in rows} == {"inference", "perturbed", "temporal"}
    for side in ("chosen", "rejected"):
        files = [Media(str(out / row[side])) for row in rows]
        scores = ClapScore(str(listener)).score([row["prompt"] for row in rows], files).tolist()
        assert [row[f"{side}_score"] for row in rows] == pytest.approx(scores, abs=0.01)  # files have 16 bits
    own = f"{{class_path: audio, init_args: {{model: {model}, seconds: 0.256}}}}"
    (tmp_path / "run.yaml").write_text(f"model: {{modality: {own}, objective: dpo}}\n")
    here = ["--data.train", str(out / "pairs.jsonl"), "--trainer.default_root_dir", str(tmp_path / "run")]
    checked = run("check", "--config", str(tmp_path / "run.yaml"), "--trainer.accelerator", "cpu", *here)
    assert checked.status == 0, checked.err
    assert f"{len(rows)} rows read, {len(rows)} kept" in checked.out
