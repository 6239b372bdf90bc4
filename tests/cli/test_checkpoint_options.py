"""`--ckpt_path` and `export`: which checkpoint is meant, whose options hold, and what is written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.commands.export import last_metrics
from modalign.commands.resume import differences, read_checkpoint, resolve_checkpoint
from modalign.core.callbacks.checkpoint import newest_checkpoint
from modalign.core.errors import UserError
from modalign.modalities.text.scratch import write_scratch_model
from tests.cli.conftest import Run


def test_last_means_the_newest_readable_checkpoint(run: Run, folder: Path) -> None:
    options = ["fit", "--config", "run.yaml", "--checkpoint.every_n_steps", "1"]
    assert run(*options).status == 0
    again = run(*options)
    assert again.status == 1
    assert "holds a run already" in again.err
    newest = newest_checkpoint(folder / "run")
    assert newest is not None
    newest.write_bytes(newest.read_bytes()[:100])
    older = newest_checkpoint(folder / "run")
    assert older is not None
    assert older != newest
    assert resolve_checkpoint("last", folder / "run", "fit") == str(older)
    ran = run(*options, "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert ran.status == 0, ran.err
    assert f"continuing from run/checkpoints/{older.name}" in ran.err


def test_last_without_a_checkpoint(run: Run, folder: Path) -> None:
    ran = run("fit", "--config", "run.yaml", "--ckpt_path", "last")
    assert ran.status == 0
    assert "no checkpoint in run yet" in ran.err
    ran = run("validate", "--config", "run.yaml", "--ckpt_path", "last", "--trainer.default_root_dir", "elsewhere")
    assert ran.status == 2
    assert "there is no checkpoint in elsewhere" in ran.err


def test_the_users_options_win_over_the_checkpoints(run: Run, folder: Path) -> None:
    assert run("fit", "--config", "run.yaml").status == 0
    checkpoint = newest_checkpoint(folder / "run")
    changed = ["--model.objective.beta", "0.4", "--trainer.max_epochs", "2", "--ckpt_path", str(checkpoint)]
    ran = run("fit", "--config", "run.yaml", *changed)
    assert ran.status == 0, ran.err
    assert "model.objective.beta is 0.4; the checkpoint was written with 0.1" in ran.err
    newest = newest_checkpoint(folder / "run")
    assert newest is not None
    assert read_checkpoint(newest)["modalign"]["config"]["model"]["objective"]["init_args"]["beta"] == 0.4


def test_a_file_that_is_no_checkpoint(run: Run, folder: Path) -> None:
    (folder / "x.ckpt").write_text("words")
    ran = run("fit", "--config", "run.yaml", "--ckpt_path", "x.ckpt")
    assert ran.status == 2
    assert "x.ckpt cannot be read as a checkpoint" in ran.err
    assert "weights_only" not in ran.err
    torch.save({"state_dict": {}}, folder / "y.ckpt")
    assert "holds no config of modalign" in run("fit", "--config", "run.yaml", "--ckpt_path", "y.ckpt").err
    assert "did you mean 'x.ckpt'" in run("fit", "--config", "run.yaml", "--ckpt_path", "xx.ckpt").err


FIXED = {
    "--model.objective=ipo": "model.objective",
    "--model.reference=frozen": "model.reference",
    "--model.optimizer=SGD": "model.optimizer",
    "--data.batch_size=2": "data.batch_size is 2, and the checkpoint was written with 4",
    "--data.shuffle=false": "data.shuffle is False",
    "--data.validation_rows=3": "data.validation_rows is 3",
    "--data.train=other.jsonl": "data.train is 'other.jsonl'",
    "--trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches is 2",
    "--seed_everything=7": "seed_everything is 7, and the checkpoint was written with 42",
}


def test_what_a_run_stands_on_cannot_change(run: Run, folder: Path) -> None:
    assert run("fit", "--config", "run.yaml").status == 0
    before = sorted(path.name for path in (folder / "run").rglob("*"))
    for option, told in FIXED.items():
        ran = run("fit", "--config", "run.yaml", option, "--ckpt_path", "last", "--trainer.max_epochs", "2")
        assert ran.status == 2, option
        assert told in ran.err
        assert "Put the old values back" in ran.err
    assert sorted(path.name for path in (folder / "run").rglob("*")) == before
    listed = run("fit", "--config", "run.yaml", "--data.train=[pairs.jsonl]", "--ckpt_path", "last")
    assert listed.status == 0, listed.err
    other = ["--data.validation", "pairs.jsonl", "--seed_everything=7", "--data.shuffle=false"]
    read = run("validate", "--config", "run.yaml", *other, "--ckpt_path", "last")
    assert read.status == 0, read.err


def test_a_checkpoint_does_not_overwrite_another_run(run: Run, folder: Path) -> None:
    assert run("fit", "--config", "run.yaml").status == 0
    assert run("fit", "--config", "run.yaml", "--trainer.default_root_dir", "other").status == 0
    newest = str(newest_checkpoint(folder / "run"))
    longer = ["fit", "--config", "run.yaml", "--trainer.max_epochs", "2", "--ckpt_path", newest]
    ran = run(*longer, "--trainer.default_root_dir", "other")
    assert ran.status == 1
    assert "other holds a run already" in ran.err
    assert "is not of it" in ran.err
    assert not (folder / "other" / "config-resumed-1.yaml").exists()
    assert run(*longer, "--trainer.default_root_dir", "new").status == 0
    assert run(*longer).status == 0
    assert (folder / "run" / "config-resumed-1.yaml").exists()


def test_a_run_without_checkpoints_is_not_overwritten(run: Run, folder: Path) -> None:
    short = ["fit", "--config", "run.yaml", "--trainer.enable_checkpointing", "false"]
    assert run(*short).status == 0
    ran = run(*short)
    assert ran.status == 1
    assert "holds a run already (config.yaml)" in ran.err
    assert run(*short, "--ckpt_path", "last").status == 0
    assert not (folder / "run" / "config-resumed-1.yaml").exists()


def test_differences() -> None:
    old: dict[str, Any] = {"a": {"b": 1, "c": 2}, "d": [1], "gone": 3}
    new: dict[str, Any] = {"a": {"b": 1, "c": 5}, "d": [1], "come": 4}
    assert list(differences(old, new, "model")) == [
        ("model.a.c", 2, 5),
        ("model.gone", 3, None),
        ("model.come", None, 4),
    ]


def test_predict_writes_every_row(run: Run, folder: Path) -> None:
    ran = run("predict", "--config", "run.yaml", "--data.test", "pairs.jsonl")
    assert ran.status == 0, ran.err
    rows = [json.loads(line) for line in (folder / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(12))


@pytest.fixture
def trained(run: Run, folder: Path) -> Path:
    """A run of a tiny language model, not exported."""
    texts = (folder / "pairs.jsonl").read_text().splitlines()
    write_scratch_model(texts, folder / "model", vocab_size=280, hidden_size=16, layers=1, heads=2, max_positions=64)
    text = ["--model.modality", "text", "--model.modality.model", "model", "--model.modality.max_length", "64"]
    assert run("fit", "--config", "run.yaml", *text, "--trainer.log_every_n_steps", "1").status == 0
    return folder / "run"


def test_export_writes_the_weights_of_the_checkpoint(run: Run, trained: Path) -> None:
    from transformers import AutoModelForCausalLM

    ran = run("export", "run", "--out", "exported")
    assert ran.status == 0, ran.err
    newest = newest_checkpoint(trained)
    assert newest is not None
    saved = torch.load(newest, weights_only=True)
    model = AutoModelForCausalLM.from_pretrained(trained.parent / "exported")
    policy = {name.removeprefix("policy."): value for name, value in saved["state_dict"].items()}
    assert {name for name, _ in model.named_parameters()} <= policy.keys()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, policy[name])
    card = (trained.parent / "exported" / "README.md").read_text()
    assert f"{saved['global_step']} optimiser steps" in card
    assert "rewards/margins" in card


def test_export_refuses_what_it_cannot_do(run: Run, trained: Path) -> None:
    assert run("export", str(newest_checkpoint(trained)), "--out", "exported").status == 0
    assert "exists already" in run("export", "run", "--out", "exported").err
    assert run("export", "run", "--out", "exported", "--overwrite").status == 0
    assert "this policy has none" in run("export", "run", "--out", "other", "--adapter").err
    assert "there is no checkpoint nowhere" in run("export", "nowhere", "--out", "other").err
    assert "without a readable checkpoint" in run("export", "model", "--out", "other").err
    assert "required: --out" in run("export", "run").err
    assert not (trained.parent / "other").exists()


def test_export_of_another_models_weights_is_refused(run: Run, trained: Path, folder: Path) -> None:
    texts = (folder / "pairs.jsonl").read_text().splitlines()
    write_scratch_model(
        texts, folder / "model", vocab_size=280, hidden_size=32, layers=1, heads=2, max_positions=64, overwrite=True
    )
    ran = run("export", "run", "--out", "exported")
    assert ran.status == 2
    assert "does not fit the model that its own config describes" in ran.err


def test_metrics_up_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0, "epoch": 0}\n{"step": 9, "loss": 0.1}\n{"ste')
    assert last_metrics(path, 5) == {"loss": 2.0}
    assert last_metrics(tmp_path / "none", 5) == {}


def test_reading_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"modalign": {"config": Evil()}}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()
