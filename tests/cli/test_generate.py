"""`modalign generate`: before and after, from a checkpoint, a config or a folder; resumed, never overwritten."""

import json
import os
import shutil
import subprocess
import sys
import weakref
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from modalign.cli import main
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.errors import UserError
from modalign.core.response_files import read_rows
from modalign.modalities.text.modality import Text
from modalign.modalities.text.scratch import write_scratch_model
from tests.cli.conftest import CONFIG, Run
from tests.drawings import SIDE, Drawings
from tests.toy import write_pairs

ROOT = Path(__file__).parents[2]
DRAWN = ["--model.modality", "tests.drawings.Drawings"]
REWARD = "lightness: {class_path: tests.drawings.Lightness}\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the toy that draws, three prompts and a reward."""
    folder = tmp_path_factory.mktemp("finished")
    write_pairs(folder / "pairs.jsonl", 12)
    (folder / "run.yaml").write_text(CONFIG)
    (folder / "prompts.txt").write_text("kq\n\nlq\n mq \n")
    (folder / "judge.yaml").write_text(REWARD)
    with chdir(folder):
        assert main(["fit", "--config", "run.yaml", *DRAWN]) == 0
    return folder


@pytest.fixture
def drawn(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run's folder to work in."""
    folder = tmp_path / "drawn"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def written(run: Run, folder: Path) -> Path:
    """A run of a tiny language model, and its prompts."""
    texts = (folder / "pairs.jsonl").read_text().splitlines()
    write_scratch_model(texts, folder / "model", vocab_size=280, hidden_size=16, layers=1, heads=2, max_positions=64)
    text = ["--model.modality", "text", "--model.modality.model", "model", "--model.modality.max_length", "64"]
    assert run("fit", "--config", "run.yaml", *text).status == 0
    (folder / "prompts.jsonl").write_text('{"prompt": "k1q", "n": 1}\n{"prompt": "l2q", "n": 2}\n')
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "generations.jsonl")


def test_pictures_before_and_after_with_rewards_and_a_sheet(run: Run, drawn: Path) -> None:
    ran = run("generate", "run", "--prompts", "prompts.txt", "--out", "made", "--n", "2", "--rewards", "judge.yaml")
    assert ran.status == 0, ran.err
    made = rows(drawn / "made")
    keys = [(row["policy"], row["number"], row["draw"], row["prompt"], row["seed"]) for row in made]
    prompts = ["kq", "lq", "mq"]
    wanted = [(p, k, draw, prompts[k], 0) for p in ("base", "aligned") for k in range(3) for draw in range(2)]
    assert keys == wanted
    for row in made:
        assert row["file"] == f"{row['policy']}/{row['number']:05d}-{row['draw']:02d}.png"
        assert Image.open(drawn / "made" / row["file"]).getpixel((0, 0))[0] == row["rewards"]["lightness"]
    sheet = Image.open(drawn / "made" / "contact_sheet.png")
    assert sheet.size == (2 * SIDE, 3 * SIDE)
    assert sheet.getpixel((SIDE, 0))[0] == made[6]["rewards"]["lightness"]
    means = [sum(row["rewards"]["lightness"] for row in half) / 6 for half in (made[:6], made[6:])]
    assert f"lightness: base {means[0]:.4g}, aligned {means[1]:.4g}" in ran.out
    assert means[0] != means[1]


def test_the_policies_are_those_before_and_after_training(run: Run, drawn: Path) -> None:
    options = ["--prompts", "prompts.txt", "--seed", "5"]
    assert run("generate", "run", *options, "--out", "both").status == 0
    assert run("generate", "run", *options, "--out", "after", "--no-base").status == 0
    assert {row["policy"] for row in rows(drawn / "after")} == {"aligned"}
    modality = Drawings()
    model = modality.load()
    newest = newest_checkpoint(drawn / "run")
    assert newest is not None
    weights = torch.load(newest, weights_only=True)["state_dict"]
    model.head.bias.data.copy_(weights["policy.head.bias"])
    expected = [drawing.tobytes() for (drawing,) in modality.sample(model, ["kq", "lq", "mq"], seed=5)]
    for name in ("both", "after"):
        files = [row["file"] for row in rows(drawn / name) if row["policy"] == "aligned"]
        assert [Image.open(drawn / name / file).tobytes() for file in files] == expected


def test_a_folder_that_was_cut_off_is_completed_and_nothing_is_done_twice(run: Run, drawn: Path) -> None:
    command = ["generate", "run", "--prompts", "prompts.txt", "--out", "made", "--n", "2"]
    assert run(*command).status == 0
    whole = (drawn / "made" / "generations.jsonl").read_bytes()
    kept = whole.split(b"\n")[:7]
    (drawn / "made" / "generations.jsonl").write_bytes(b"\n".join(kept) + b'\n{"number": 1, "pro')
    untouched = drawn / "made" / "base" / "00000-00.png"
    before = untouched.stat().st_mtime_ns
    ran = run(*command)
    assert ran.status == 0, ran.err
    assert "base: 3 of 3 prompts answered, 0 to go" in ran.out
    assert "aligned: 0 of 3 prompts answered, 3 to go" in ran.out
    assert untouched.stat().st_mtime_ns == before
    assert (drawn / "made" / "generations.jsonl").read_bytes() == whole
    assert "aligned: 3 of 3 prompts answered, 0 to go" in run(*command).out


def test_another_request_or_a_folder_of_other_things_is_refused(run: Run, drawn: Path) -> None:
    command = ["generate", "run", "--prompts", "prompts.txt"]
    assert run(*command, "--out", "made").status == 0
    before = {path: path.read_bytes() for path in (drawn / "made").rglob("*") if path.is_file()}
    ran = run(*command, "--out", "made", "--seed", "3", "--sampling", "steps=7")
    assert ran.status == 2
    assert "made holds other generations" in ran.err
    assert "seed: 0 there, 3 now" in ran.err
    assert "sampling: {} there, {'steps': 7} now" in ran.err
    (drawn / "prompts.txt").write_text("zq\n")
    assert "prompts: '3, hash" in run(*command, "--out", "made").err
    assert {path: path.read_bytes() for path in (drawn / "made").rglob("*") if path.is_file()} == before
    ran = run(*command, "--out", "run")
    assert "run exists, and holds no generations" in ran.err


def test_one_that_fails_leaves_nothing_and_the_right_one_runs(
    run: Run, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["generate", "run", "--prompts", "prompts.txt", "--out", "made"]

    def refuse(*given: Any, **options: Any) -> Any:
        raise UserError("the model takes no such length")  # what only a model that is loaded knows

    with monkeypatch.context() as patched:
        patched.setattr(Drawings, "sample", refuse)
        ran = run(*command, "--seed", "3")
    assert ran.status == 2
    assert "the model takes no such length" in ran.err
    assert not (drawn / "made").exists()
    assert run(*command).status == 0


def test_a_folder_that_cannot_be_made_is_refused_before_models_are_loaded(
    run: Run, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drawings, "sample", None)
    ran = run("generate", "run", "--prompts", "prompts.txt", "--out", "prompts.txt/made")
    assert ran.status == 2
    assert "prompts.txt/made cannot be made" in ran.err
    (drawn / "mine").mkdir()
    (drawn / "mine" / "settings.json").write_text("[1, 2")
    ran = run("generate", "run", "--prompts", "prompts.txt", "--out", "mine")
    assert ran.status == 2
    assert "mine exists, and holds no generations" in ran.err


def test_other_weights_in_the_same_checkpoint_are_told(run: Run, drawn: Path) -> None:
    command = ["generate", "run", "--prompts", "prompts.txt", "--out", "made"]
    assert run(*command).status == 0
    newest = newest_checkpoint(drawn / "run")
    assert newest is not None
    checkpoint = torch.load(newest, weights_only=True)
    torch.save(checkpoint, newest)
    assert run(*command).status == 0
    checkpoint["state_dict"]["policy.head.bias"][0] += 1
    torch.save(checkpoint, newest)
    ran = run(*command)
    assert ran.status == 2
    assert "weights: 'raw, hash " in ran.err


def test_other_options_of_a_modality_or_a_reward_are_told(run: Run, written: Path) -> None:
    def judged(target: int) -> Any:
        (written / "short.yaml").write_text(f"short: {{class_path: length, init_args: {{target: {target}}}}}\n")
        command = ["generate", "--config", "text.yaml", "--prompts", "prompts.jsonl", "--out", "made"]
        return run(*command, "--sampling", "max_new_tokens=3", "--rewards", "short.yaml")

    def write(max_length: int) -> None:
        text = {"class_path": "text", "init_args": {"model": "model", "max_length": max_length}}
        model = {"modality": text, "objective": "dpo"}
        (written / "text.yaml").write_text(json.dumps({"model": model, "data": {"train": "x"}}))

    write(64)
    assert judged(3).status == 0
    assert judged(3).status == 0
    ran = judged(4)
    assert ran.status == 2
    assert "reward short: " in ran.err
    write(32)
    ran = judged(3)
    assert ran.status == 2
    assert "modality.max_length: 64 there, 32 now" in ran.err


def test_one_policy_is_gone_before_the_next_is_loaded(run: Run, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[torch.nn.Module]] = []
    load = Drawings.load

    def watched(self: Drawings, model: str | None = None) -> torch.nn.Module:
        assert all(policy() is None for policy in loaded)
        policy = load(self, model)
        loaded.append(weakref.ref(policy))
        return policy

    monkeypatch.setattr(Drawings, "load", watched)
    named = yaml.safe_load((drawn / "run.yaml").read_text())
    named["model"]["modality"] = {"class_path": "tests.drawings.Drawings"}
    (drawn / "drawn.yaml").write_text(yaml.safe_dump(named))
    ran = run("generate", "--config", "drawn.yaml", "--model", "other", "--prompts", "prompts.txt", "--out", "made")
    assert ran.status == 0, ran.err
    assert len(loaded) == 2
    assert len(rows(drawn / "made")) == 6


def test_text_answers_stand_in_the_rows(run: Run, written: Path) -> None:
    options = ["--prompts", "prompts.jsonl", "--out", "made", "--sampling", "max_new_tokens=5", "temperature=0.7"]
    ran = run("generate", "run", *options, "--seed", "4")
    assert ran.status == 0, ran.err
    made = rows(written / "made")
    assert [(row["policy"], row["prompt"]) for row in made] == [
        (policy, prompt) for policy in ("base", "aligned") for prompt in ("k1q", "l2q")
    ]
    modality = Text("model", max_length=64)
    expected = modality.sample(modality.load(), ["k1q", "l2q"], seed=4, max_new_tokens=5, temperature=0.7)
    assert [[row["response"]] for row in made[:2]] == expected
    assert sorted(path.name for path in (written / "made").iterdir()) == ["generations.jsonl", "settings.json"]


def test_models_by_config_and_folder(run: Run, written: Path) -> None:
    assert run("export", "run", "--out", "exported").status == 0
    text = {"class_path": "text", "init_args": {"model": "model", "max_length": 64}}
    (written / "text.yaml").write_text(
        json.dumps({"model": {"modality": text, "objective": "dpo"}, "data": {"train": "x"}})
    )
    options = ["--prompts", "prompts.jsonl", "--sampling", "max_new_tokens=5"]
    for out, models in {
        "run": ["run"],
        "both": ["--config", "text.yaml", "--model", "exported"],
        "config": ["--config", "text.yaml"],
        "folder": ["--model", "exported", "--modality", "text", "max_length=64"],
    }.items():
        ran = run("generate", *models, *options, "--out", f"made/{out}")
        assert ran.status == 0, ran.err
    said = {
        out: [(row["policy"], row["response"]) for row in rows(written / "made" / out)] for out in os.listdir("made")
    }
    assert said["both"] == said["run"]
    assert said["config"] == said["run"][:2]
    assert said["folder"] == said["run"][2:]


def test_prompts_of_other_files(run: Run, drawn: Path) -> None:
    (drawn / "prompts.csv").write_text("caption,id\nkq,1\nlq,2\nmq,3\n")
    options = ["generate", "run", "--prompts", "prompts.csv", "--no-base"]
    ran = run(*options, "--out", "made", "--prompt-column", "caption", "--limit", "2")
    assert ran.status == 0, ran.err
    assert [row["prompt"] for row in rows(drawn / "made")] == ["kq", "lq"]
    ran = run(*options, "--out", "other", "--prompt-column", "captoin")
    assert ran.status == 2
    assert "there is no column 'captoin'" in ran.err
    assert "did you mean 'caption'" in ran.err


REFUSED = [
    ([], "no model is given"),
    (["run", "--model", "x"], "both a checkpoint and a model"),
    (["nowhere"], "there is no checkpoint nowhere"),
    (["run", "--n", "0"], "--n is 0"),
    (["run", "--limit", "0"], "--limit is 0"),
    (["run", "--weights", "average"], "holds no average"),
    (["--model", "x", "--weights", "raw"], "among the weights of a checkpoint"),
    (["--model", "x", "--base"], "does not say what it was trained from"),
    (["--model", "x", "--modality", "txt"], "did you mean 'text'"),
    (["--model", "x", "--modality", "text", "max_lenght=6"], "max_lenght"),
    (["--config", "run.yaml", "--modality", "text"], "the config names one"),
    (["--config", "run.yaml", "--no-base"], "leaves nothing"),
    (["run", "--sampling", "stepts=3"], "no option 'stepts'"),
    (["run", "--sampling", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    (["run", "--sampling", "prompts.txt"], "is no mapping"),
    (["run", "--rewards", "lenght"], "did you mean 'length'"),
    (["run", "--rewards", "length"], "--rewards length cannot be built: missing: target"),
    (["run", "--rewards", "short.yaml"], "'length' judges text"),
    (["run", "--device", "abacus"], "there is no such device"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_mistakes_are_told_and_nothing_is_written(run: Run, drawn: Path, options: list[str], message: str) -> None:
    (drawn / "short.yaml").write_text("short: {class_path: length, init_args: {target: 3}}\n")
    ran = run("generate", *options, "--prompts", "prompts.txt", "--out", "made")
    assert ran.status == 2
    assert message in ran.err
    assert not (drawn / "made").exists()


def test_unusable_prompt_files(run: Run, drawn: Path) -> None:
    (drawn / "empty.txt").write_text("\n\n")
    assert "holds no prompts" in run("generate", "run", "--prompts", "empty.txt", "--out", "made").err
    assert "cannot be read" in run("generate", "run", "--prompts", "gone.txt", "--out", "made").err
    (drawn / "binary.txt").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in run("generate", "run", "--prompts", "binary.txt", "--out", "made").err


def test_in_a_process_of_its_own(run: Run, drawn: Path) -> None:
    command = [sys.executable, "-m", "modalign", "generate", "run", "--prompts", "prompts.txt", "--out", "made"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "generated: made/generations.jsonl, made/contact_sheet.png" in done.stdout
    assert len(rows(drawn / "made")) == 6
