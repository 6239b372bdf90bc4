"""Formats over the sources they come in: the same rows, whatever holds them and however they are read."""

import csv
import io
import json
import tarfile

import datasets
import pytest
from datasets import Dataset, Features, Value

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import ConfigError, UserError
from modalign.core.objectives.pairwise import Dpo
from modalign.core.reading import Reading
from modalign.core.sources import open_rows
from modalign.modalities.image.formats.image_captions import ImageCaptions
from modalign.modalities.image.formats.pick_a_pic import PickAPic
from modalign.plugins.formats.auto import AutoFormat
from modalign.plugins.formats.trl_preference import TrlPreference
from tests.modalities.image.formats.pictures import Pictures

PICTURES = {f"{name}.png": b"\x89PNG" + name.encode() for name in "abcdef"}
PAIRS = [("a cat", "a", "b"), ("a dog", "c", "d"), ("a cow", "e", "f")]


def content(name):
    return PICTURES[f"{name}.png"]


def expected(pairs=PAIRS):
    return [(prompt, content(chosen), content(rejected)) for prompt, chosen, rejected in pairs]


def found(dataset):
    comparisons = [dataset.comparison(index) for index in range(len(dataset))]
    return [
        (each.prompt, *(each.candidate(role).response.read() for role in (CHOSEN, REJECTED))) for each in comparisons
    ]


def folder(path):
    (path / "pictures").mkdir()
    for name, data in PICTURES.items():
        (path / "pictures" / name).write_bytes(data)
    return path


def rows(column=lambda side: side):
    return [
        {"prompt": prompt, column("chosen"): f"pictures/{a}.png", column("rejected"): f"pictures/{b}.png"}
        for prompt, a, b in PAIRS
    ]


def as_jsonl(path):
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))


def as_csv(path):
    with (path / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "chosen_file_name", "rejected_file_name"])
        writer.writeheader()
        writer.writerows(rows(lambda side: f"{side}_file_name"))


def as_json(path):
    (path / "train.json").write_text(json.dumps(rows(lambda side: f"{side}_image")))


def as_parquet_with_paths(path):
    Dataset.from_list(rows()).to_parquet(path / "metadata.parquet")


def as_parquet_with_bytes(path):
    features = Features({"caption": Value("string"), "chosen": datasets.Image(), "rejected": datasets.Image()})
    stored = [
        {"caption": p, "chosen": {"bytes": content(a), "path": None}, "rejected": {"bytes": content(b), "path": None}}
        for p, a, b in PAIRS
    ]
    Dataset.from_list(stored, features=features).to_parquet(path / "a.parquet")


def as_webdataset(path):
    with tarfile.open(path / "a.tar", "w") as archive:
        for key, (prompt, chosen, rejected) in enumerate(PAIRS):
            members = {"prompt.txt": prompt.encode(), "chosen.png": content(chosen), "rejected.png": content(rejected)}
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{key:03d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    "write", [as_jsonl, as_csv, as_json, as_parquet_with_paths, as_parquet_with_bytes, as_webdataset]
)
def test_a_folder_of_pictures_gives_the_same_pairs_whatever_holds_its_rows(tmp_path, monkeypatch, write):
    write(folder(tmp_path))
    monkeypatch.chdir(tmp_path / "pictures")  # Paths start from the data file's folder, not from this one.
    reading = Reading(AutoFormat(), Pictures(), Dpo())
    dataset = reading.dataset([str(tmp_path)], "train")
    assert found(dataset) == expected()
    stream = reading.stream([str(tmp_path)], "train", buffer=0)
    chunks = list(stream.rows(epoch=0))
    examples = stream.reader.read(chunks, 0, 1, stream.report)
    assert [example.cells for _, example in examples] == [dataset[index].cells for index in range(len(dataset))]
    assert stream.report.as_dict()["kept"] == dataset.report.as_dict()["kept"] == 3


def test_captions_of_a_folder_as_the_datasets_library_lays_it_out(tmp_path):
    lines = [{"file_name": f"pictures/{name}", "text": f"picture {name}"} for name in PICTURES]
    (folder(tmp_path) / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Pictures())
    assert isinstance(dataset.formats[0], ImageCaptions)
    assert [dataset[index].cells[0] for index in range(6)] == [(f"picture {name}", PICTURES[name]) for name in PICTURES]


def test_a_picture_that_is_missing_costs_its_row(tmp_path):
    as_jsonl(folder(tmp_path))
    (tmp_path / "pictures" / "c.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 rows cannot be used(?s:.*)cannot be read: .*c\.png'"):
        ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Pictures())
    dataset = ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Pictures(), on_bad_row="skip")
    assert found(dataset) == expected([PAIRS[0], PAIRS[2]])
    assert dataset.report.sources[0].reasons == {"a file cannot be read": 1}  # whatever it is called


@pytest.mark.parametrize(("ties", "wanted"), [("skip", 2), ("keep", 4)])
def test_text_labels_of_a_webdataset_decide_as_the_numbers_they_are(tmp_path, ties, wanted):
    labels = ["0", "1", "0.5"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for key, (label, (prompt, first, second)) in enumerate(zip(labels, PAIRS, strict=True)):
            for suffix, data in {
                "caption.txt": prompt.encode(),
                "jpg_0.jpg": content(first),
                "jpg_1.jpg": content(second),
                "label_0.txt": label.encode(),
            }.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    dataset = ComparisonDataset([open_rows(tmp_path / "a.tar")], PickAPic(ties), Pictures())
    assert len(dataset) == wanted
    assert found(dataset)[:2] == [("a cat", content("b"), content("a")), ("a dog", content("c"), content("d"))]
    assert [dataset.comparison(index).weight for index in range(2, wanted)] == [0.5] * (wanted - 2)


def test_a_format_of_text_is_refused_for_pictures_before_a_row_is_read(tmp_path):
    as_jsonl(folder(tmp_path))
    for read in (lambda r: r.dataset([str(tmp_path)], "train"), lambda r: r.stream([str(tmp_path)], "train", 0)):
        with pytest.raises(ConfigError, match="'trl_preference' reads responses of text"):
            read(Reading(TrlPreference(), Pictures(), Dpo()))
