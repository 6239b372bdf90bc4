"""The data module: what is read, held out, refused, and told."""

import json
from pathlib import Path

import pytest

from modalign import PreferenceDataModule
from modalign.core.errors import ConfigError
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Kto
from tests.core.callbacks.fitting import fit
from tests.toy import Letters, Pairs


def test_held_out_prompts_are_not_trained_on(tmp_path: Path) -> None:
    rows = [json.dumps({"prompt": f"p{n % 7}q", "chosen": "a" * (n + 1), "rejected": "b"}) for n in range(28)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(rows))
    data = PreferenceDataModule(Pairs(), train=str(path), validation_rows=9)
    data.connect(Letters(), Dpo())
    data.setup("fit")
    train = {c.prompt for c in data.comparisons("train")}
    held_out = [c.prompt for c in data.comparisons("validation")]
    assert len(held_out) == 8
    assert not train & set(held_out)
    assert len(list(data.comparisons("train"))) == 20


def test_the_report_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = fit(tmp_path, data={"max_rows": 20})
    assert "20 rows read, 20 kept, 0 skipped" in capsys.readouterr().out
    report = json.loads((tmp_path / "data_report.json").read_text())
    assert report["train"]["kept"] == 20
    assert report["train"]["unread"] == 4
    assert trainer.global_step == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"validation_rows": -1}, "validation_rows is -1"),
        ({"max_rows": 0}, "max_rows is 0"),
        ({"streaming": True, "validation_rows": 4}, "held out of a stream"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        PreferenceDataModule(Pairs(), train="x.jsonl", **options)


@pytest.mark.parametrize(("stage", "told"), [("fit", "data.train is empty"), ("validate", "no data to validate on")])
def test_missing_data(stage: str, told: str) -> None:
    data = PreferenceDataModule(Pairs())
    data.connect(Letters(), Dpo())
    with pytest.raises(ConfigError, match=told):
        data.setup(stage)


def test_a_batch_of_one_is_refused_where_rows_are_coupled() -> None:
    with pytest.raises(ConfigError, match=r"Kto estimates a mean.*batch_size is 1"):
        PreferenceDataModule(Pairs(), train="x.jsonl", batch_size=1).connect(Letters(), Kto())
    PreferenceDataModule(Pairs(), train="x.jsonl", batch_size=1).connect(Letters(), Dpo())


def test_a_streams_report_is_written_at_the_end(tmp_path: Path) -> None:
    fit(tmp_path, data={"streaming": True, "shuffle": False})
    report = json.loads((tmp_path / "data_report.json").read_text())
    assert (report["train"]["read"], report["train"]["kept"]) == (24, 24)
