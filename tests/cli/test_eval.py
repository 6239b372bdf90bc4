"""`modalign eval`: tasks are found, read their options, and measure models before and after training."""

import json
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.cli import main
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.response_files import read_rows
from modalign.modalities.text.modality import Text
from modalign.modalities.text.scratch import write_scratch_model
from tests.cli.conftest import CONFIG, Run
from tests.toy import Letters, write_pairs

PREFERENCE = ["eval", "preference", "run", "--data", "held_out.jsonl", "--format", "tests.toy.Pairs"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the toy, and pairs that it has not seen."""
    folder = tmp_path_factory.mktemp("finished")
    write_pairs(folder / "pairs.jsonl", 12)
    write_pairs(folder / "held_out.jsonl", 30, seed=5)
    (folder / "run.yaml").write_text(CONFIG)
    with chdir(folder):
        assert main(["fit", "--config", "run.yaml", "--trainer.max_epochs", "4"]) == 0
    return folder


@pytest.fixture
def trained(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run's folder to work in."""
    folder = tmp_path / "trained"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


def toy_logps(model: Any, path: Path) -> list[dict[str, tuple[float, int]]]:
    """Log-probability and length of both responses of each row, letter by letter."""
    found = []
    model.requires_grad_(False)
    for row in map(json.loads, path.read_text().splitlines()):
        sums = {}
        for role in ("chosen", "rejected"):
            letters = [1 + (ord(letter) - 97) % 26 for letter in row["prompt"][-1] + row[role]]
            logps = model(torch.tensor(letters[:-1])).log_softmax(-1)
            total = logps[torch.arange(len(letters) - 1), torch.tensor(letters[1:])].sum()
            sums[role] = (float(total), len(letters) - 1)
        found.append(sums)
    return found


def test_preference_accuracy_before_and_after(run: Run, trained: Path) -> None:
    ran = run(*PREFERENCE, "--out", "found")
    assert ran.status == 0, ran.err
    written = json.loads((trained / "found" / "figures.json").read_text())["figures"]
    rows = {
        policy: [r for r in read_rows(trained / "found" / "rows.jsonl") if r["policy"] == policy] for policy in written
    }
    newest = newest_checkpoint(trained / "run")
    assert newest is not None
    aligned = Letters().load().eval()
    weights = torch.load(newest, weights_only=True)["state_dict"]
    aligned.load_state_dict({**aligned.state_dict(), **{k.removeprefix("policy."): v for k, v in weights.items()}})
    now = toy_logps(aligned, trained / "held_out.jsonl")
    assert [row["row"] for row in rows["aligned"]] == list(range(30))
    for row, expected in zip(rows["aligned"], now, strict=True):
        assert row["logps"] == pytest.approx({role: logp for role, (logp, _) in expected.items()}, abs=1e-4)
        assert row["sizes"] == {role: size for role, (_, size) in expected.items()}
    before = [row["logps"] for row in rows["base"]]
    sums = sum(row["chosen"][0] > row["rejected"][0] for row in now) / 30
    means = sum(row["chosen"][0] / row["chosen"][1] > row["rejected"][0] / row["rejected"][1] for row in now) / 30
    gains = sum(
        row["chosen"][0] - old["chosen"] > row["rejected"][0] - old["rejected"]
        for row, old in zip(now, before, strict=True)
    )
    figures = {name: figure["value"] for name, figure in written["aligned"].items()}
    assert figures == {
        "chosen > rejected": pytest.approx(sums),
        "chosen > rejected, per unit": pytest.approx(means),
        "chosen > rejected, over base": pytest.approx(gains / 30),
    }
    assert written["base"].keys() == {"chosen > rejected", "chosen > rejected, per unit"}
    change = figures["chosen > rejected"] - written["base"]["chosen > rejected"]["value"]
    assert written["aligned - base"]["chosen > rejected"]["value"] == pytest.approx(change)
    assert f"{figures['chosen > rejected']:.3f} [" in ran.out
    assert "of 30" in ran.out


def test_what_was_cut_off_is_completed_and_another_question_is_refused(run: Run, trained: Path) -> None:
    assert run(*PREFERENCE, "--out", "found", "--no-base").status == 0
    path = trained / "found" / "rows.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    ran = run(*PREFERENCE, "--out", "found", "--no-base")
    assert ran.status == 0, ran.err
    done = whole[: len(whole) // 2].count(b"\n")
    assert f"aligned: {done} of 30 answered, {30 - done} to go" in ran.out
    assert path.read_bytes() == whole
    ran = run(*PREFERENCE, "--out", "found", "--no-base", "--batch-size", "3")
    assert ran.status == 2
    assert "found holds other answers" in ran.err
    assert "'batch_size': 8" in ran.err
    write_pairs(trained / "held_out.jsonl", 30, seed=6)
    assert "data's files" in run(*PREFERENCE, "--out", "found", "--no-base").err
    assert run(*PREFERENCE, "--out", "few", "--no-base", "--limit", "7").status == 0
    assert len(read_rows(trained / "few" / "rows.jsonl")) == 7


def test_a_text_model_by_its_folder_under_two_prompts(run: Run, folder: Path) -> None:
    rows = [
        {"prompt": f"The cat {n}", "chosen": "sat down", "rejected": "sat", "other_prompt": f"The dog {n}"}
        for n in range(6)
    ]
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_scratch_model(
        [json.dumps(row) for row in rows],
        folder / "model",
        vocab_size=280,
        hidden_size=16,
        layers=1,
        heads=2,
        max_positions=64,
    )
    command = ["eval", "preference", "--model", "model", "--modality", "text", "max_length=64", "--data", "text.jsonl"]
    ran = run(*command, "--contrast", "other_prompt", "--out", "found")
    assert ran.status == 0, ran.err
    figures = json.loads((folder / "found" / "figures.json").read_text())["figures"]["aligned"]
    assert list(figures) == [
        "chosen > rejected",
        "chosen > rejected, per unit",
        "chosen > chosen@other_prompt",
        "chosen > chosen@other_prompt, per unit",
    ]
    modality = Text("model", max_length=64)
    model: Any = modality.load().eval()
    row = read_rows(folder / "found" / "rows.jsonl")[2]
    for role, prompt in (("chosen", "The cat 2"), ("chosen@other_prompt", "The dog 2")):
        ids, answer = modality.tokenizer(prompt)["input_ids"], modality.tokenizer("sat down")["input_ids"]
        answer = [*answer, modality.tokenizer.eos_token_id]
        with torch.no_grad():
            logps = model(input_ids=torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        expected = logps[torch.arange(len(answer)), torch.tensor(answer)].sum()
        assert row["logps"][role] == pytest.approx(float(expected), abs=1e-4)
    ran = run(*command, "--contrast", "other_image", "--out", "other")
    assert ran.status == 2
    assert "contrast is 'other_image', and the modality 'text' makes no such cells" in ran.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["eval", "prefrence"], "no task is called 'prefrence'; did you mean 'preference'?"),
        (["eval", "--data", "x"], "the option --data stands before the task"),
        (["eval", "preference", "run", "--out", "o"], "the following arguments are required: --data"),
        (["eval", "preference", "--out", "o", "--data", "held_out.jsonl"], "no model is given"),
        ([*PREFERENCE, "--out", "o", "--limit", "0"], "--limit is 0"),
        ([*PREFERENCE, "--out", "o", "--batch-size", "x"], "--batch-size: expected a whole number, got 'x'"),
        ([*PREFERENCE, "--out", "o", "--batch-size", "0"], "batch_size is 0"),
        ([*PREFERENCE, "--out", "o", "--on-bad-row", "skp"], "--on-bad-row: expected one of error, skip, got 'skp'"),
        ([*PREFERENCE[:-2], "--out", "o", "--format", "rankd"], "no format is called 'rankd'; did you mean 'ranked'"),
        ([*PREFERENCE, "--out", "o", "--btch", "3"], "unrecognized arguments: --btch 3"),
        (["eval", "pope", "run", "--out", "o", "--questions", "q", "--images", "i"], "measures vision_language, not"),
    ],
)
def test_mistakes_are_told(run: Run, trained: Path, command: list[str], message: str) -> None:
    ran = run(*command)
    assert ran.status == 2
    assert message in ran.err
    assert not (trained / "o").exists()


def test_help_lists_tasks_and_a_tasks_options(run: Run) -> None:
    listed = run("eval", "--help").out
    assert all(task in listed for task in ("preference", "pope", "chair"))
    with pytest.raises(SystemExit) as left:
        run("eval", "pope", "--help")
    assert left.value.code == 0


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from modalign.cli import main; main(['eval', '--help']); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
