"""Formats of sounds over the sources they come in: the same rows, whatever holds them and however they are read."""

import csv
import io
import json
import tarfile
from pathlib import Path

import datasets
import pytest
import torch
from datasets import Dataset, DatasetDict, Features, Value
from lightning import Trainer

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.data import PreferenceDataModule
from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import UserError
from modalign.core.objectives.pairwise import Dpo
from modalign.core.reading import Reading
from modalign.core.sources import open_rows, stream_rows
from modalign.modalities.audio.formats.audio_captions import AudioCaptions
from modalign.modalities.audio.formats.audio_ranked import AudioRanked
from modalign.plugins.formats.auto import AutoFormat
from tests import sounds
from tests.modalities.audio.formats.hearing import Hearing

pytestmark = pytest.mark.filterwarnings("ignore:data.format auto")

RATE = 8000
PAIRS = [("a low tone then noise", 1, 2), ("noise then beeps", 3, 4), ("beeps then a high tone", 5, 6)]


def clip(seed):
    return sounds.noise(0.02, RATE, seed=seed)


def expected(pairs=PAIRS):
    return [(prompt, clip(chosen).samples, clip(rejected).samples) for prompt, chosen, rejected in pairs]


def content(seed, format="WAV", subtype="FLOAT"):
    return sounds.encoded(clip(seed), format, subtype)


def assert_same(dataset, wanted, precision=0.0):
    assert len(dataset) == len(wanted)
    for index, (prompt, chosen, rejected) in enumerate(wanted):
        example = dataset[index]
        assert example.comparison.roles == (CHOSEN, REJECTED)
        for (text, rate, samples), original in zip(example.cells, (chosen, rejected), strict=True):
            assert (text, rate) == (prompt, RATE)
            assert (samples - original).abs().max() <= precision


def folder(path):
    for _, *seeds in PAIRS:
        for seed in seeds:
            sounds.save(clip(seed), path / "sounds" / f"{seed}.wav", "FLOAT")
    return path


def rows(column=lambda side: side):
    return [
        {"prompt": prompt, column("chosen"): f"sounds/{a}.wav", column("rejected"): f"sounds/{b}.wav"}
        for prompt, a, b in PAIRS
    ]


def stored(seed):
    return {"bytes": content(seed), "path": None}


def with_audio():
    """A data set whose columns are of the type Audio, which the library itself only makes where FFmpeg is installed."""
    table = Dataset.from_list(
        [{"prompt": prompt, "chosen": stored(a), "rejected": stored(b)} for prompt, a, b in PAIRS]
    )
    return table.cast(
        Features(
            {"prompt": Value("string"), "chosen": datasets.Audio(), "rejected": datasets.Audio(sampling_rate=16000)}
        )
    )


def as_jsonl(path):
    sounds.write_jsonl(path / "metadata.jsonl", rows())


def as_jsonl_of_decoded(path):
    lines = [
        {"prompt": prompt, **{side: decoded(seed) for side, seed in (("chosen", a), ("rejected", b))}}
        for prompt, a, b in PAIRS
    ]
    sounds.write_jsonl(path / "train.jsonl", lines)


def decoded(seed):
    return {"array": clip(seed).samples[0].tolist(), "sampling_rate": RATE, "path": None}


def as_csv(path):
    with (path / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "chosen_file_name", "rejected_file_name"])
        writer.writeheader()
        writer.writerows(rows(lambda side: f"{side}_file_name"))


def as_json(path):
    (path / "train.json").write_text(json.dumps(rows(lambda side: f"{side}_audio")))


def as_parquet_with_paths(path):
    Dataset.from_list(rows()).to_parquet(path / "metadata.parquet")


def as_parquet_with_audio(path):
    with_audio().to_parquet(path / "a.parquet")


def as_saved_dataset(path):
    with_audio().save_to_disk(path / "saved")
    return path / "saved"


def as_saved_splits(path):
    DatasetDict({"train": with_audio(), "test": with_audio().select([0])}).save_to_disk(path / "saved")
    return path / "saved"


def as_webdataset(path):
    with tarfile.open(path / "a.tar", "w") as archive:
        for key, (prompt, chosen, rejected) in enumerate(PAIRS):
            members = {"prompt.txt": prompt.encode(), "chosen.wav": content(chosen), "rejected.wav": content(rejected)}
            add_row(archive, f"{key:03d}", members)


def add_row(archive, key, members):
    for suffix, data in members.items():
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    "write",
    [
        as_jsonl,
        as_jsonl_of_decoded,
        as_csv,
        as_json,
        as_parquet_with_paths,
        as_parquet_with_audio,
        as_saved_dataset,
        as_saved_splits,
        as_webdataset,
    ],
)
def test_the_same_pairs_whatever_holds_the_rows(tmp_path, monkeypatch, write):
    source = write(folder(tmp_path)) or tmp_path
    monkeypatch.chdir(tmp_path / "sounds")  # Paths start from the data file's folder, not from this one.
    reading = Reading(AutoFormat(), Hearing(), Dpo())
    dataset = reading.dataset([str(source)], "train")
    assert_same(dataset, expected())
    stream = reading.stream([str(source)], "train", buffer=0)
    examples = stream.reader.read(list(stream.rows(epoch=0)), 0, 1, stream.report)
    for (_, example), index in zip(examples, range(3), strict=True):
        for streamed, read in zip(example.cells, dataset[index].cells, strict=True):
            assert torch.equal(streamed[2], read[2])
    assert stream.report.as_dict()["kept"] == dataset.report.as_dict()["kept"] == 3


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg"])
def test_members_of_a_webdataset(tmp_path, format):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for seed in range(3):
            sound = sounds.tone(400 + 100 * seed, 0.2, 16000)
            add_row(archive, f"{seed}", {"txt": f"tone {seed}".encode(), format: sounds.encoded(sound, format.upper())})
    dataset = ComparisonDataset([open_rows(tmp_path / "a.tar")], AutoFormat(), Hearing())
    assert isinstance(dataset.formats[0], AudioCaptions)
    for seed in range(3):
        ((prompt, rate, samples),) = dataset[seed].cells
        assert (prompt, rate) == (f"tone {seed}", 16000)
        assert (samples - sounds.tone(400 + 100 * seed, 0.2, 16000).samples)[:, 800:-800].abs().max() < 0.05


def test_captions_of_a_folder_as_the_datasets_library_lays_it_out(tmp_path):
    lines = [{"file_name": f"sounds/{seed}.wav", "text": f"sound {seed}"} for seed in range(1, 7)]
    sounds.write_jsonl(folder(tmp_path) / "metadata.jsonl", lines)
    dataset = ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Hearing())
    assert isinstance(dataset.formats[0], AudioCaptions)
    for seed in range(1, 7):
        ((prompt, _, samples),) = dataset[seed - 1].cells
        assert prompt == f"sound {seed}"
        assert torch.equal(samples, clip(seed).samples)


def test_lists_of_sounds_that_the_datasets_library_saved(tmp_path):
    row = {"prompt": "noise", "audios": [stored(1), stored(2), stored(3)], "scores": [0.25, 1.0, 0.5]}
    table = Dataset.from_list([row, row])
    table.cast(Features({**table.features, "audios": datasets.List(datasets.Audio())})).to_parquet(
        tmp_path / "a.parquet"
    )
    dataset = ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Hearing())
    assert isinstance(dataset.formats[0], AudioRanked)
    assert_same(dataset, [("noise", clip(2).samples, clip(1).samples)] * 2)
    _, streamed = next(iter(stream_rows(tmp_path)))
    assert streamed["audios"][0]["bytes"] == content(1)


def test_sounds_of_the_datasets_library_that_are_paths(tmp_path):
    table = Dataset.from_list(
        [{"text": f"sound {seed}", "audio": str(folder(tmp_path) / "sounds" / f"{seed}.wav")} for seed in (1, 2)]
    )
    table.cast_column("audio", datasets.Audio(sampling_rate=44100)).save_to_disk(tmp_path / "saved")
    dataset = ComparisonDataset([open_rows(tmp_path / "saved")], AutoFormat(), Hearing())
    assert torch.equal(dataset[1].cells[0][2], clip(2).samples)


@pytest.mark.parametrize("streaming", [False, True])
def test_sounds_of_the_hub_are_not_decoded_by_the_datasets_library(monkeypatch, streaming):
    monkeypatch.setattr(datasets, "load_dataset", fetched)
    reading = Reading(AutoFormat(), Hearing(), Dpo())
    if not streaming:
        return assert_same(reading.dataset(["someone/audio-alpaca"], "train"), expected())
    stream = reading.stream(["someone/audio-alpaca"], "train", buffer=0)
    examples = [example for _, example in stream.reader.read(list(stream.rows(epoch=0)), 0, 1, stream.report)]
    assert [example.comparison.prompt for example in examples] == [prompt for prompt, *_ in PAIRS]
    assert torch.equal(examples[1].cells[0][2], clip(3).samples)


def fetched(name, config_name, split, streaming):
    assert (name, split) == ("someone/audio-alpaca", "train")
    return with_audio().to_iterable_dataset() if streaming else with_audio()


def test_the_data_module_makes_batches_of_sounds(tmp_path):
    as_jsonl(folder(tmp_path))
    data = PreferenceDataModule(AutoFormat(), train=str(tmp_path / "metadata.jsonl"), batch_size=3, shuffle=False)
    data.trainer = Trainer(default_root_dir=tmp_path / "run", accelerator="cpu", logger=False, barebones=True)
    data.connect(Hearing(), Dpo())
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch.roles == (CHOSEN, REJECTED)
    cells = [(prompt, samples) for prompt, _, samples in batch.inputs["cells"]]
    wanted = [(prompt, clip(seed).samples) for prompt, *seeds in PAIRS for seed in seeds]
    for (prompt, samples), (text, original) in zip(cells, wanted, strict=True):
        assert prompt == text
        assert torch.equal(samples, original)


def test_slices_of_one_file(tmp_path):
    long = sounds.joined(*(clip(seed) for seed in range(1, 7)))
    sounds.save(long, tmp_path / "hour.wav", "FLOAT")
    lines = [
        {
            "prompt": prompt,
            "chosen": {"path": "hour.wav", "start": 0.02 * (a - 1), "seconds": 0.02},
            "rejected": {"path": "hour.wav", "start": 0.02 * (b - 1), "end": 0.02 * b},
        }
        for prompt, a, b in PAIRS
    ]
    sounds.write_jsonl(tmp_path / "pairs.jsonl", lines)
    assert_same(ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Hearing()), expected())


def damage(path: Path, how: str) -> str:
    """Spoil a file; returns what the report counts the row under."""
    if how == "missing":
        path.unlink()
        return "a file cannot be read"
    if how == "empty":
        path.write_bytes(b"")
        return "a file is empty"
    if how == "torn":
        path.write_bytes(path.read_bytes()[:-100])
        return "the sound is cut off"
    if how == "nan":
        samples = clip(3).samples.clone()
        samples[0, 0] = float("nan")
        path.write_bytes(sounds.encoded(sounds.Clip(samples, RATE), "WAV", "FLOAT"))
        return "the sound is not finite"
    path.write_text("not a sound")
    return "the file is not a sound that can be read"


@pytest.mark.parametrize("how", ["missing", "empty", "torn", "nan", "text"])
def test_a_bad_file_costs_its_row(tmp_path, how):
    as_jsonl(folder(tmp_path))
    reason = damage(tmp_path / "sounds" / "3.wav", how)
    with pytest.raises(UserError, match=r"1 of 3 rows cannot be used(?s:.*)3\.wav'"):
        ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Hearing())
    dataset = ComparisonDataset([open_rows(tmp_path)], AutoFormat(), Hearing(), on_bad_row="skip")
    assert_same(dataset, [expected()[0], expected()[2]])
    assert dataset.report.sources[0].reasons == {reason: 1}
