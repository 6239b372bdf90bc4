"""Fifty broken configs: each is answered in a few lines that name the key or row, and none by a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, Run


@dataclass(frozen=True)
class Broken:
    """A mistake.

    Attributes:
        change: Text of the good config, and what stands in its place.
        options: Added to the command line.
        expected: What the answer must hold.
        status: 2 for what can be told before the run, 1 for what the data shows.
    """

    expected: tuple[str, ...]
    change: tuple[str, str] = ("", "")
    options: tuple[str, ...] = ()
    status: int = 2


def in_file(old: str, new: str, *expected: str, status: int = 2) -> Broken:
    return Broken(expected, change=(old, new), status=status)


def by_option(option: str, *expected: str, status: int = 2) -> Broken:
    return Broken(expected, options=tuple(option.split()), status=status)


OBJECTIVE = "  objective: dpo\n"
WITH_BETA = "  objective:\n    class_path: dpo\n    init_args:\n      {}\n"
SUM = "  objective:\n    class_path: sum\n    init_args:\n      objectives: {}\n"

BROKEN = {
    # ---- the file
    "no mapping": in_file(CONFIG, "- model\n- data\n", "run.yaml", "a config is a mapping with sections", "a list"),
    "empty file": in_file(CONFIG, "", "run.yaml", "empty"),
    "yaml syntax": in_file(OBJECTIVE, "  objective: [dpo\n", "run.yaml, line 4", "not YAML"),
    "tabs": in_file("  objective: dpo", "\tobjective: dpo", "run.yaml, line 3", "not YAML"),
    "python tag": in_file(OBJECTIVE, "  objective: !!python/name:os.system\n", "run.yaml, line 3", "tag"),
    "a key twice": in_file(OBJECTIVE, OBJECTIVE * 2, "line 4", "'model.objective' is given a second time", "line 3"),
    # ---- keys
    "section misspelt": in_file("data:", "dta:", "run.yaml, line 5", "unknown key 'dta'", "did you mean 'data'"),
    "section without keys": in_file(CONFIG[CONFIG.index("trainer") :], "trainer: 3\n", "line 8", "a section with keys"),
    "key misspelt": in_file("batch_size", "batchsize", "run.yaml, line 7", "data.batchsize", "data.batch_size"),
    "trainer key misspelt": in_file("max_epochs", "max_epoch", "line 9", "trainer.max_epoch", "trainer.max_epochs"),
    "key of nowhere": in_file(OBJECTIVE, f"{OBJECTIVE}  zzz: 1\n", "line 4", "model.zzz"),
    "leaf in the wrong section": in_file(
        "data:\n", "data:\n  max_epochs: 3\n", "data.max_epochs", "trainer.max_epochs"
    ),
    "option misspelt": by_option("--trainer.max_step 3", "--trainer.max_step", "trainer.max_steps"),
    "root misspelt": by_option("--modle.objective dpo", "--modle.objective", "did you mean --model.objective"),
    "option of nowhere": by_option("--beta 0.3", "--beta", "options begin with", "model"),
    "stray word": by_option("quickly", "'quickly' belongs to no option"),
    "config without value": Broken(("--config", "expected one argument"), options=("--config",)),
    "no such config": by_option("--config rum.yaml", "no config file rum.yaml", "did you mean 'run.yaml'"),
    # ---- names
    "objective misspelt": in_file(OBJECTIVE, "  objective: dpoo\n", "line 3", "'dpoo'", "did you mean 'dpo'"),
    "objective in capitals": in_file(OBJECTIVE, "  objective: DPOO\n", "line 3", "'DPOO'", "did you mean 'dpo'"),
    "objective by option": by_option("--model.objective simp", "'simp'", "did you mean 'simpo'"),
    "modality misspelt": in_file("tests.toy.Letters", "txt", "line 2", "no modality", "did you mean 'text'"),
    "reference misspelt": by_option("--model.reference frozn", "no reference", "did you mean 'frozen'"),
    "format misspelt": by_option("--data.format unpared", "no format", "did you mean 'unpaired'"),
    "optimizer misspelt": in_file("AdamW", "AdmW", "line 4", "no optimizer", "did you mean 'AdamW'"),
    "callback misspelt": by_option("--trainer.callbacks EarlyStoping", "no callback", "did you mean 'EarlyStopping'"),
    "class of another kind": in_file("tests.toy.Letters", "tests.toy.Pairs", "line 2", "does not correspond"),
    "program as a class": in_file("tests.toy.Letters", "subprocess.Popen", "line 2", "not allowed"),
    "no such module": in_file("tests.toy.Letters", "nowhere.Letters", "line 2", "model.modality", "nowhere"),
    "no such class": in_file("tests.toy.Letters", "tests.toy.Lettres", "line 2", "model.modality", "Lettres"),
    "no class named": in_file(OBJECTIVE, "  objective: {beta: 0.1}\n", "line 3", "no class is named"),
    "missing": in_file(OBJECTIVE, "", "missing: model.objective"),
    # ---- options of classes
    "option of a class": in_file(OBJECTIVE, WITH_BETA.format("betta: 1"), "line 6", "model.objective.betta", "beta"),
    "wrong type": in_file(OBJECTIVE, WITH_BETA.format("beta: high"), "line 6", "model.objective.beta", "a number"),
    "value out of range": in_file(OBJECTIVE, WITH_BETA.format("beta: -1"), "beta is -1.0", "above 0"),
    "not a number": in_file(OBJECTIVE, WITH_BETA.format("beta: .nan"), "beta is nan"),
    "within a sum": in_file(OBJECTIVE, SUM.format("{a: {class_path: dpo, init_args: {betta: 1}}}"), "line 6", "beta"),
    "name within a sum": in_file(OBJECTIVE, SUM.format("{a: sfft, b: dpo}"), "line 6", "'sfft'", "did you mean 'sft'"),
    "option of the modality": by_option("--model.modality.dropuot 0.1", "model.modality.dropuot", "dropout"),
    "option of the optimizer": in_file("lr: 0.01", "lrr: 0.01", "line 4", "model.optimizer.lrr", "lr"),
    "one of a few": by_option("--model.schedule.shape liner", "model.schedule.shape", "did you mean 'linear'"),
    "one of two": by_option("--data.on_bad_row skp", "data.on_bad_row", "did you mean 'skip'"),
    "precision": by_option("--trainer.precision bf16-mixd", "trainer.precision", "did you mean 'bf16-mixed'"),
    "not whole": by_option("--trainer.max_steps 10.5", "trainer.max_steps", "a whole number", "10.5"),
    "batch of none": by_option("--data.batch_size 0", "data.batch_size is 0"),
    "strategy": by_option("--trainer.strategy dddp", "strategy='dddp'"),
    "accelerator": by_option("--trainer.accelerator gpuu", "accelerator='gpuu'"),
    "learning rate": in_file("lr: 0.01", "lr: -1", "run.yaml, line 4", "model.optimizer: AdamW", "learning rate: -1"),
    "weight decay": by_option("--model.optimizer.weight_decay=-1", "model.optimizer: AdamW", "weight_decay"),
    "learning rate in words": by_option("--model.optimizer.lr=abc", "model.optimizer.lr: expected a number, got 'abc'"),
    "no optimizer": by_option("--model.optimizer=null", "model.optimizer: expected the name of a class", "got None"),
    "validation interval": by_option("--trainer.val_check_interval=0", "trainer.val_check_interval", "is 0"),
    "validation every no epoch": by_option("--trainer.check_val_every_n_epoch=0", "check_val_every_n_epoch", "least 1"),
    "accumulation of none": by_option("--trainer.accumulate_grad_batches=0", "accumulate_grad_batches", "at least 1"),
    "accumulation of less": by_option("--trainer.accumulate_grad_batches=-2", "is -2"),
    "logging backwards": by_option("--trainer.log_every_n_steps=-1", "trainer.log_every_n_steps", "is -1"),
    "clipping backwards": by_option("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val", "at least 0"),
    "seed": by_option("--seed_everything=-1", "seed_everything", "from 0 to 4294967295"),
    "run folder in a file": by_option("--trainer.default_root_dir=run.yaml/x", "default_root_dir", "is a file"),
    # ---- parts that do not fit
    "reference of none": by_option("--model.reference none", "needs a reference", "model.reference is none"),
    "reference too many": by_option("--model.objective simpo --model.reference frozen", "uses no reference"),
    "two warm-ups": by_option("--model.schedule.warmup_steps 2 --model.schedule.warmup_ratio 0.1", "warmup_ratio"),
    "stream held out": by_option("--data.streaming true --data.validation_rows 2", "data.validation_rows"),
    # ---- files and rows
    "no such checkpoint": by_option("--ckpt_path step-9.ckpt", "--ckpt_path", "step-9.ckpt"),
    "no such data": in_file("pairs.jsonl", "pears.jsonl", "pears.jsonl", "pairs.jsonl", status=1),
    "columns of no format": in_file("pairs.jsonl", "columns.jsonl", "columns.jsonl fits no format", "left", status=1),
    "other feedback": in_file("pairs.jsonl", "thumbs.jsonl", "learns from pairs", "thumbs.jsonl", "kto", status=1),
    "bad rows": in_file(
        "pairs.jsonl", "bad.jsonl", "bad.jsonl, row 1", "bad.jsonl, row 2", "data.on_bad_row", status=1
    ),
    "torn line": in_file("pairs.jsonl", "torn.jsonl", "torn.jsonl, row 1", status=1),
}


@pytest.fixture
def break_config(folder: Path) -> Callable[[Broken], list[str]]:
    """Write the data and the broken config; the command line that runs it."""
    good = json.loads((folder / "pairs.jsonl").read_text().splitlines()[0])
    rows = [good, {**good, "chosen": ""}, {**good, "chosen": 7}, {**good, "prompt": "other"}]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "columns.jsonl").write_text('{"left": "a", "right": "b"}\n')
    (folder / "thumbs.jsonl").write_text('{"prompt": "p", "completion": "yes", "label": true}\n')
    (folder / "torn.jsonl").write_text(json.dumps(good) + '\n{"prompt": "p", "cho\n')

    def break_config(broken: Broken) -> list[str]:
        old, new = broken.change
        assert old in CONFIG
        (folder / "run.yaml").write_text(CONFIG.replace(old, new, 1) if old else CONFIG)
        return ["fit", "--config", "run.yaml", *broken.options]

    return break_config


def test_there_are_fifty() -> None:
    assert len(BROKEN) >= 50


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_config_is_answered(
    mistake: str, break_config: Callable[[Broken], list[str]], run: Run, folder: Path
) -> None:
    broken = BROKEN[mistake]
    ran = run(*break_config(broken))
    assert ran.status == broken.status
    assert "modalign: error: " in ran.err
    assert "Traceback" not in ran.err
    assert "usage:" not in ran.err
    for text in broken.expected:
        assert text in ran.err
    assert len(ran.err.splitlines()) < 30
    assert not (folder / "run" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["section misspelt", "bad rows"])  # the first thing looked at, and the last
def test_the_program_itself_answers_the_same(
    mistake: str, break_config: Callable[[Broken], list[str]], folder: Path
) -> None:
    broken = BROKEN[mistake]
    command = [sys.executable, "-m", "modalign", *break_config(broken)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == broken.status
    assert "Traceback" not in done.stderr
    for text in broken.expected:
        assert text in done.stderr


def test_no_end_means_one_epoch(run: Run, folder: Path) -> None:
    (folder / "run.yaml").write_text(CONFIG.replace("  max_epochs: 1\n", ""))
    ran = run("fit", "--config", "run.yaml")
    assert ran.status == 0
    assert "training for one epoch" in ran.err
    assert "max_epochs: 1\n" in (folder / "run" / "config.yaml").read_text()


def test_a_good_config_trains(run: Run, folder: Path) -> None:
    ran = run("fit", "--config", "run.yaml")
    assert ran.status == 0, ran.err
    assert (folder / "run" / "metrics.jsonl").exists()
