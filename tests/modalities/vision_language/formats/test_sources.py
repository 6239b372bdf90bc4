"""Formats over the files they come in: the same comparisons whether images are paths in JSON or bytes in Parquet."""

import json

import datasets
import pytest
from datasets import Dataset, Features, Value

from modalign.cli import main
from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import UserError
from modalign.core.parsing import parse_row
from modalign.core.sources import open_rows
from modalign.modalities.vision_language.formats.ha_dpo import HaDpo
from modalign.modalities.vision_language.formats.vision_preference import VisionPreference
from modalign.modalities.vision_language.prompts import images_of
from modalign.plugins.formats.auto import AutoFormat
from tests.modalities.vision_language.formats.samples import (
    BLUE,
    RED,
    Looking,
    asked,
    completion,
    said,
    sample,
    stored,
    texts,
)

PAIRS = [("Red?", RED, "Yes.", "No."), ("Blue?", BLUE, "Yes, it is.", "It is not."), ("Which?", RED, "Red.", "Blue.")]


def folder(path):
    (path / "pictures").mkdir(parents=True)
    for name, content in (("red", RED), ("blue", BLUE)):
        (path / "pictures" / f"{name}.png").write_bytes(content)
    return path


def rows():
    return [
        {
            "prompt": prompt,
            "images": ["pictures/red.png" if image == RED else "pictures/blue.png"],
            "chosen": a,
            "rejected": b,
        }
        for prompt, image, a, b in PAIRS
    ]


def as_json(path):
    (folder(path) / "rows.json").write_text(json.dumps(rows()))
    return path / "rows.json"


def as_jsonl(path):
    (folder(path) / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path / "rows.jsonl"


def as_parquet_of_bytes(path):
    """TRL's own files: a list of images, and messages with typed content, whose missing keys are null."""
    table = [
        {
            "prompt": [said("user", None, prompt)],
            "chosen": [said("assistant", chosen)],
            "rejected": [said("assistant", rejected)],
            "images": [stored(image)],
        }
        for prompt, image, chosen, rejected in PAIRS
    ]
    part = {"type": Value("string"), "text": Value("string")}
    messages = datasets.List({"role": Value("string"), "content": datasets.List(part)})
    features = Features(
        dict.fromkeys(("prompt", "chosen", "rejected"), messages) | {"images": datasets.List(datasets.Image())}
    )
    path.mkdir(exist_ok=True)
    Dataset.from_list(table, features=features).to_parquet(str(path / "rows.parquet"))
    return path / "rows.parquet"


def as_parquet_of_single_images(path):
    """RLAIF-V's files."""
    table = [
        {"image": stored(image, "a.jpg"), "question": prompt, "chosen": chosen, "rejected": rejected}
        for prompt, image, chosen, rejected in PAIRS
    ]
    features = Features(
        {"image": datasets.Image()} | dict.fromkeys(("question", "chosen", "rejected"), Value("string"))
    )
    path.mkdir(exist_ok=True)
    Dataset.from_list(table, features=features).to_parquet(str(path / "rows.parquet"))
    return path / "rows.parquet"


@pytest.mark.parametrize("write", [as_json, as_jsonl, as_parquet_of_bytes, as_parquet_of_single_images])
def test_the_same_pairs_come_from_every_file(tmp_path, monkeypatch, write):
    file = write(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    data = ComparisonDataset([open_rows(file)], AutoFormat(), Looking())
    found = [data.comparison(index) for index in range(len(data))]
    assert [(asked(each.prompt)[1], images_of(each.prompt)[0].read(), *texts(each)) for each in found] == PAIRS
    assert len(set(data.prompt_keys)) == 3
    assert data[1].cells == ((BLUE,), (BLUE,))


def test_vlfeedback_as_the_datasets_library_writes_it(tmp_path):
    answers = [completion("a", "1", "1", "1"), completion("b", "5", "5", "5")]
    Dataset.from_list([{"prompt": "Q", "image": RED, "completions": answers}]).to_parquet(str(tmp_path / "a.parquet"))
    data = ComparisonDataset([open_rows(tmp_path / "a.parquet")], AutoFormat(), Looking())
    assert texts(data.comparison(0)) == ["b", "a"]


def test_every_relative_path_is_taken_from_the_folder_of_the_file(tmp_path):
    row = {"prompt": "<image>Q", "image": "p/a.png", "chosen": "A", "rejected_image": "b.png", "other_image": "c.png"}
    (comparison,) = parse_row(row, VisionPreference(), (str(tmp_path / "rows.jsonl"), 0))
    (other,) = comparison.extra["other_images"]
    paths = [images_of(comparison.prompt)[0].path, images_of(comparison.candidates[1].context)[0].path, other.path]
    assert paths == [str(tmp_path / name) for name in ("p/a.png", "b.png", "c.png")]
    written = {
        "prompt": [{"role": "user", "content": [{"type": "image", "image": "d.png"}, {"type": "text", "text": "Q"}]}]
    }
    (comparison,) = parse_row(written | {"chosen": "A", "rejected": "B"}, VisionPreference(), (str(tmp_path / "r"), 0))
    assert images_of(comparison.prompt)[0].path == str(tmp_path / "d.png")


def test_ha_dpos_file_of_descriptions_is_an_object_by_image(tmp_path):
    (tmp_path / "VG_100K").mkdir()
    (tmp_path / "VG_100K" / "2378.jpg").write_bytes(RED)
    row = {key: value for key, value in sample("ha_dpo").items() if key != "id"}
    (tmp_path / "desc_data.json").write_text(json.dumps({"2378": row}, indent=1))
    source = open_rows(tmp_path / "desc_data.json")
    assert AutoFormat().resolve(source.columns(), source.name, Looking()).name == "ha_dpo"
    data = ComparisonDataset([source], HaDpo(pattern="VG_100K/{id}.jpg"), Looking())
    assert len(data) == 6
    assert {data[index].cells for index in range(6)} == {((RED,), (RED,))}


def test_a_missing_image_is_told_by_row(tmp_path):
    file = as_jsonl(tmp_path / "data")
    (file.parent / "pictures" / "blue.png").unlink()
    with pytest.raises(UserError, match=r"row 1.*blue\.png"):
        ComparisonDataset([open_rows(file)], AutoFormat(), Looking())
    data = ComparisonDataset([open_rows(file)], AutoFormat(), Looking(), on_bad_row="skip")
    assert (len(data), data.report.sources[0].skipped[0].row) == (2, 1)


CONFIG = """\
model:
  modality: {class_path: vision_language, init_args: {model: MODEL, max_length: 256}}
  objective: dpo
  optimizer: {class_path: AdamW, init_args: {lr: 0.01}}
data: {train: DATA, batch_size: 2}
trainer: {max_epochs: 1, accelerator: cpu, default_root_dir: run}
export: {enabled: false}
"""


def test_modalign_check_reads_a_file_by_its_columns(tmp_path, vlm_folder, monkeypatch, capsys):
    file = as_jsonl(tmp_path / "data")
    with file.open("a") as lines:
        lines.write(json.dumps(rows()[0] | {"prompt": "<image><image>Q"}) + "\n")
    (tmp_path / "run.yaml").write_text(CONFIG.replace("MODEL", str(vlm_folder("llava"))).replace("DATA", str(file)))
    monkeypatch.chdir(tmp_path)
    assert not main(["check", "--config", "run.yaml", "--data.on_bad_row", "skip"])
    told = capsys.readouterr().out
    assert "4 rows read, 3 kept, 1 skipped (images do not fit their places: 1)" in told
    assert "row 3, column 'prompt'" in told
