"""What a run leaves behind: an export, samples, predictions, its config."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from modalign import PreferenceDataModule
from modalign.core.batch import Candidate, Comparison
from modalign.core.callbacks.checkpoint import ResumeCheckpoint, newest_checkpoint
from modalign.core.callbacks.drift import DriftLog
from modalign.core.callbacks.export import Export
from modalign.core.callbacks.predictions import PredictionWriter
from modalign.core.callbacks.run_folder import RunFolder, refuse_second_run
from modalign.core.callbacks.samples import SampleLog
from modalign.core.checkpoint_io import AtomicCheckpointIO
from modalign.core.errors import ConfigError, UserError
from modalign.plugins.rewards.length import Length
from modalign.plugins.rewards.pattern import Pattern
from modalign.plugins.samplers.best_of_n import BestOfN
from modalign.plugins.samplers.single import Single
from tests.core.callbacks.fitting import fit, make_module
from tests.toy import Letters, Pairs, write_pairs

CONFIG = {"model": {"objective": {"class_path": "x.Dpo"}}, "data": {"train": "pairs.jsonl"}}


def test_export_holds_the_trained_policy_and_its_card(tmp_path: Path) -> None:
    module = make_module()
    fit(tmp_path, module=module, callbacks=[RunFolder(CONFIG), Export()])
    written = torch.load(tmp_path / "export" / "weights.pt")
    assert torch.equal(written["head.weight"], module.policy.head.weight)
    card = (tmp_path / "export" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["tags"] == ["modalign", "dpo"]
    assert "| rewards/margins |" in card
    assert "3 optimiser steps" in card


def test_export_can_be_off(tmp_path: Path) -> None:
    fit(tmp_path, callbacks=[Export(enabled=False)])
    assert not (tmp_path / "export").exists()


def test_an_export_folder_in_the_way_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        fit(tmp_path, callbacks=[Export(folder=str(tmp_path / "there"))])
    assert not (tmp_path / "metrics.jsonl").exists()
    fit(tmp_path, callbacks=[Export(folder=str(tmp_path / "there"), options={"overwrite": True})])
    assert (tmp_path / "there" / "weights.pt").exists()


def test_a_failed_export_is_a_readable_error(tmp_path: Path) -> None:
    class Full(Letters):
        def export(self, *args, **kwargs) -> None:
            raise OSError("no space left on device")

    with pytest.raises(UserError, match="no space left"):
        fit(tmp_path, module=make_module(Full()), callbacks=[Export()])


def test_samples_and_their_rewards(tmp_path: Path) -> None:
    class Texts(Length):
        modalities = frozenset({"letters"})

    best = BestOfN(Texts(target=3, unit="characters"), n=5)
    log = SampleLog(best, {"length": Texts(target=3, unit="characters")}, prompts=4)
    trainer = fit(tmp_path, data={"validation_rows": 6}, callbacks=[log])
    rows = [json.loads(line) for line in (tmp_path / "samples" / "step-0000003.jsonl").read_text().splitlines()]
    assert [row["response"] for row in rows] == ["aei"] * 4
    assert len({row["prompt"] for row in rows}) == 4
    assert trainer.callback_metrics["val/samples/length"] == 0.0


def test_a_reward_of_another_modality_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not letters"):
        fit(tmp_path, data={"validation_rows": 6}, callbacks=[SampleLog(Single(), {"short": Length(3)})])


def test_predictions_cover_every_row_once(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=11)
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        callbacks=[PredictionWriter()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.predict(make_module(), PreferenceDataModule(Pairs(), test=str(data), batch_size=4))
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(11))
    assert all([role for role, _, _ in row["logps"]] == ["chosen", "rejected"] for row in rows)
    assert all(row["rewards/margins"] == 0 for row in rows)


def test_the_config_is_kept_and_a_second_run_refused(tmp_path: Path) -> None:
    refuse_second_run(tmp_path)
    callbacks = [RunFolder(CONFIG), ResumeCheckpoint(every_n_steps=2)]
    fit(tmp_path, callbacks=callbacks, plugins=[AtomicCheckpointIO()], enable_checkpointing=True)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == CONFIG
    newest = newest_checkpoint(tmp_path)
    assert torch.load(newest, weights_only=True)["modalign"]["config"] == CONFIG
    with pytest.raises(ConfigError, match="--ckpt_path last"):
        refuse_second_run(tmp_path)
    fit(tmp_path, callbacks=[RunFolder({})], max_epochs=1)
    assert not (tmp_path / "config-resumed-1.yaml").exists()


def test_checkpoints_leave_frozen_weights_out_and_put_them_back(tmp_path: Path) -> None:
    module = make_module()
    trainer = fit(
        tmp_path,
        module=module,
        callbacks=[ResumeCheckpoint()],
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=True,
    )
    newest = newest_checkpoint(tmp_path)
    saved = torch.load(newest, weights_only=True)["state_dict"]
    assert "policy.frozen" not in saved
    assert "policy.head.weight" in saved
    again = make_module()
    rows = str(tmp_path / "pairs.jsonl")
    trainer.validate(again, datamodule=PreferenceDataModule(Pairs(), validation=rows), ckpt_path=newest)
    assert torch.equal(again.policy.head.weight, module.policy.head.weight)
    assert torch.equal(again.policy.frozen, module.policy.frozen)


def test_rewards_by_hand() -> None:
    chats = [[{"role": "assistant", "content": "one two three"}], "four"]
    assert Length(target=2).score(["", ""], chats).tolist() == [-0.5, -0.5]
    assert Length(target=4, unit="characters").score([""], ["four"]).tolist() == [0.0]
    assert Pattern("TWO").score(["", ""], chats).tolist() == [0.0, 0.0]
    assert Pattern("TWO", ignore_case=True).score(["", ""], chats).tolist() == [1.0, 0.0]
    assert Pattern("two", wanted=False).score(["", ""], chats).tolist() == [0.0, 1.0]
    with pytest.raises(ConfigError, match="no regular expression"):
        Pattern("(")
    with pytest.raises(ConfigError, match="target is 0"):
        Length(0)
    with pytest.raises(UserError, match="type int"):
        Length(2).score([""], [3])


@pytest.mark.parametrize("callback", [DriftLog(), SampleLog(Single())])
def test_callbacks_that_read_data_say_so(tmp_path: Path, callback: Callback) -> None:
    modality = Letters()
    pair = Comparison("k", (Candidate("a", "chosen"), Candidate("b", "rejected")))
    batch = modality.collate([modality.encode(pair)], [0])
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, callbacks=[callback], enable_model_summary=False, **settings)
    with pytest.raises(ConfigError, match="PreferenceDataModule"):
        trainer.fit(make_module(), DataLoader([batch], batch_size=None))


@pytest.mark.parametrize(
    ("every", "told"), [(1, "continues from step-0000002.ckpt"), (9, "no checkpoint was written yet")]
)
def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], every: int, told: str
) -> None:
    class Interrupt(Callback):
        def on_train_batch_start(self, trainer: Trainer, *args: object) -> None:
            if trainer.global_step == 2:
                raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        fit(tmp_path, callbacks=[ResumeCheckpoint(every), Interrupt()], enable_checkpointing=True)
    assert "interrupted at step 2: " in (out := capsys.readouterr().out)
    assert told in out
