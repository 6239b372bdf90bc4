"""`check` finds every problem at once, looks at the preferences, and trains nothing."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, Run


@pytest.fixture
def bad_rows(folder: Path) -> Path:
    """Rows with an empty response, a wrong type, a pair given twice and a pair with swapped sides."""
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    rows[2]["chosen"] = ""
    rows[3]["rejected"] = 7
    rows[5] = rows[4]
    rows[7] = {**rows[6], "chosen": rows[6]["rejected"], "rejected": rows[6]["chosen"]}
    path = folder / "bad.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_good_config_has_no_problems_and_trains_nothing(run: Run, folder: Path) -> None:
    ran = run("check", "--config", "run.yaml")
    assert ran.status == 0, ran.out
    assert "12 rows read, 12 kept, 0 skipped" in ran.out
    assert "12 comparisons, 12 pairs" in ran.out
    assert "no problems" in ran.out
    assert not (folder / "run").exists()


def test_the_audit_counts_what_is_suspicious(run: Run, bad_rows: Path) -> None:
    ran = run("check", "--config", "run.yaml", "--data.train", "bad.jsonl", "--data.on_bad_row", "skip")
    assert ran.status == 0, ran.out
    assert "12 rows read, 10 kept, 2 skipped" in ran.out
    for line in ("ties: 0", "identical sides: 0", "duplicates: 1", "opposite labels): 1", "preferred side longer: "):
        assert line in ran.out


def test_every_bad_row_is_a_problem_where_the_run_would_refuse_it(run: Run, bad_rows: Path) -> None:
    ran = run("check", "--config", "run.yaml", "--data.train", "bad.jsonl")
    assert ran.status == 1
    for text in ("2 rows cannot be used", "bad.jsonl, row 2", "bad.jsonl, row 3"):
        assert text in ran.out.split("1 problem")[1]


def test_all_problems_of_a_file_are_listed(run: Run, folder: Path) -> None:
    broken = (
        CONFIG.replace("objective: dpo", "objective: {class_path: dpo, init_args: {betta: 1, label_smoothing: much}}")
        .replace("lr: 0.01", "lrr: 0.01")
        .replace("max_epochs", "max_epoch")
        .replace("batch_size: 4", "batch_size: four\n  shufle: true")
        + "modle: {}\n"
    )
    (folder / "broken.yaml").write_text(broken)
    ran = run("check", "--config", "broken.yaml", "--model.reference", "frozn", "--seed_evrything", "3")
    assert ran.status == 1
    assert "9 problems" in ran.out
    for text in (
        "broken.yaml, line 3: model.objective.betta",
        "broken.yaml, line 3: model.objective.label_smoothing: expected a number, got 'much'",
        "broken.yaml, line 4: model.optimizer.lrr",
        "broken.yaml, line 7: data.batch_size: expected a whole number, got 'four'",
        "broken.yaml, line 8: data.shufle",
        "line 10: trainer.max_epoch",
        "unknown key 'modle'",
        "did you mean 'frozen'",
        "did you mean --seed_everything",
    ):
        assert text in ran.out


def test_a_missing_part_is_told_once(run: Run, folder: Path) -> None:
    (folder / "broken.yaml").write_text(CONFIG.replace("objective: dpo", "objective: dpoo"))
    ran = run("check", "--config", "broken.yaml")
    assert "1 problem\n" in ran.out
    assert "missing" not in ran.out
    (folder / "broken.yaml").write_text(CONFIG.replace("  objective: dpo\n", ""))
    assert "missing: model.objective" in run("check", "--config", "broken.yaml").out


def test_parts_that_cannot_be_built_hide_neither_each_other_nor_the_data(run: Run, bad_rows: Path) -> None:
    options = ["--model.schedule.warmup_steps=-3", "--trainer.strategy", "dddp", "--model.reference.class_path", "none"]
    ran = run("check", "--config", "run.yaml", "--data.train", "bad.jsonl", *options)
    assert ran.status == 1
    for text in ("model.schedule: ", "strategy='dddp'", "2 rows cannot be used"):
        assert text in ran.out


def test_values_out_of_range_and_data_that_does_not_connect_hide_nothing(run: Run, folder: Path) -> None:
    values = ["--model.optimizer.lr=-1", "--trainer.val_check_interval=0", "--seed_everything=-1"]
    ran = run("check", "--config", "run.yaml", "--model.objective", "kto", "--data.batch_size", "1", *values)
    assert ran.status == 1
    for text in ("4 problems", "learning rate: -1", "val_check_interval", "seed_everything", "data.batch_size is 1"):
        assert text in ran.out


def test_incompatible_parts(run: Run, folder: Path) -> None:
    ran = run("check", "--config", "run.yaml", "--model.reference", "adapter")
    assert ran.status == 1
    assert "no adapter to switch off" in ran.out
    ran = run("check", "--config", "run.yaml", "--model.reference", "none")
    assert "needs a reference" in ran.out


def test_a_stream_is_read_to_a_limit(run: Run, folder: Path) -> None:
    ran = run("check", "--config", "run.yaml", "--data.streaming", "true")
    assert ran.status == 0
    assert "at most 100000 rows are read here" in ran.out


def test_validation_and_test_data_are_read(run: Run, bad_rows: Path) -> None:
    ran = run("check", "--config", "run.yaml", "--data.validation", "bad.jsonl", "--data.test", "absent.jsonl")
    assert ran.status == 1
    assert "data.validation: 2 rows cannot be used" in ran.out
    assert "absent.jsonl" in ran.out


def test_without_arguments_it_explains_itself(run: Run) -> None:
    assert run("check").status == 2
    ran = run("check", "--help")
    assert ran.status == 0
    assert "usage: modalign check" in ran.out
    assert run("check", "--config", "absent.yaml").status == 2


def test_options_of_samples_and_export_are_checked(run: Run, folder: Path) -> None:
    drawings = "model: {modality: tests.drawings.Drawings}\n"
    sampler = "{class_path: single, init_args: {options: {stepts: 2}}}"
    callback = f"{{class_path: SampleLog, init_args: {{sampler: {sampler}}}}}"
    (folder / "samples.yaml").write_text(f"{drawings}trainer: {{callbacks: [{callback}]}}\n")
    ran = run("check", "--config", "run.yaml", "--config", "samples.yaml")
    assert ran.status == 1
    assert "Drawing has no option 'stepts'" in ran.out + ran.err
