"""`modalign eval audio`: folders of sounds are compared; what was cut off is completed."""

import json
import os

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from modalign.cli import main
from modalign.core.errors import ConfigError, UserError
from modalign.core.figures import difference
from modalign.core.response_files import read_rows
from modalign.modalities.audio.tasks.audio import AudioSets
from modalign.modalities.audio.tasks.listeners import Classifier, load_encoder
from tests import sounds
from tests.tiny_audio.listeners import classifier, wav2vec2

COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noises and, under the same names, tones; `near` has other noises, and a last one in another format."""
    root = tmp_path_factory.mktemp("sets")
    wav2vec2(root / "encoder")
    classifier(root / "classifier")
    for number in range(COUNT):
        name = f"{number:02d}.wav"
        sounds.save(sounds.noise(0.2, seed=number), root / "real" / name)
        sounds.save(sounds.noise(0.2, seed=100 + number), (root / "near" / name).with_suffix(".flac"))
        sounds.save(sounds.tone(200 + 100 * number, 0.2), root / "far" / name)
    (root / "real" / "notes.txt").write_text("no sound")
    return root


def run(folder, out, *words):
    command = ["eval", "audio", "--reference", folder / "real", "--generated", folder / "near", folder / "far"]
    models = ["--embedder", folder / "encoder", "--classifier", folder / "classifier", "--device", "cpu"]
    return main([*map(str, [*command, *models, "--out", out, *words])])


def heard(folder, name):
    """Each sound's vector and probabilities, in order."""
    encoder = load_encoder(str(folder / "encoder"), None, None, torch.device("cpu"))
    classes = Classifier(str(folder / "classifier"), None, torch.device("cpu"))
    clips = {
        "real": [sounds.noise(0.2, seed=number) for number in range(COUNT)],
        "near": [sounds.noise(0.2, seed=100 + number) for number in range(COUNT)],
        "far": [sounds.tone(200 + 100 * number, 0.2) for number in range(COUNT)],
    }[name]
    pcm = [(clip.samples[0] * 32768).round().clamp(-32768, 32767) / 32768 for clip in clips]
    return [encoder.hear(samples).numpy() for samples in pcm], [classes.hear(samples).numpy() for samples in pcm]


def test_figures_are_those_of_the_formulas(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert f"reference: 0 of {COUNT} files done, {COUNT} to go" in printed
    written = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert written["task"] == "audio"
    assert list(written["figures"]) == ["near", "far", "far - near"]
    real_vectors, real_classes = heard(folder, "real")
    for name in ("near", "far"):
        vectors, classes = heard(folder, name)
        a, b = np.stack(real_vectors), np.stack(vectors)
        covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        fad = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(
            sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real
        )
        kl = np.mean([(p * np.log(p / q)).sum() for p, q in zip(real_classes, classes, strict=True)])
        inception = np.exp(np.mean([(q * np.log(q / np.mean(classes, axis=0))).sum() for q in classes]))
        figures = written["figures"][name]
        assert figures["FAD"]["value"] == pytest.approx(fad, rel=2e-2)
        assert figures["FAD"]["low"] <= figures["FAD"]["value"] <= figures["FAD"]["high"]
        assert figures["FAD"]["of"] == COUNT
        assert figures["KL"]["value"] == pytest.approx(kl, rel=2e-2)
        assert figures["IS"]["value"] == pytest.approx(inception, rel=1e-3)
        assert (figures["sounds"]["value"], figures["reference sounds"]["value"]) == (COUNT, COUNT)
    near, far, change = (written["figures"][name] for name in ("near", "far", "far - near"))
    assert far["FAD"]["value"] > 2 * near["FAD"]["value"]
    assert change["KL"]["value"] == pytest.approx(far["KL"]["value"] - near["KL"]["value"])
    assert change["KL"]["low"] < change["KL"]["value"] < change["KL"]["high"]
    assert f"{far['FAD']['value']:.3f} [" in printed


def test_what_was_cut_off_is_completed_and_other_files_are_refused(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, out, "--batch-size", "5") == 0
    rows, figures = (out / "rows.jsonl").read_bytes(), (out / "figures.json").read_bytes()
    (out / "rows.jsonl").write_bytes(rows[: len(rows) // 2])
    capsys.readouterr()
    assert run(folder, out, "--batch-size", "5") == 0
    assert f"reference: {COUNT} of {COUNT} files done, 0 to go" in capsys.readouterr().out
    assert sorted((out / "rows.jsonl").read_bytes().splitlines()) == sorted(rows.splitlines())
    assert (out / "figures.json").read_bytes() == figures
    assert len(read_rows(out / "rows.jsonl")) == 3 * COUNT
    assert run(folder, out, "--window", "0.1", "--batch-size", "5") == 2
    assert "holds other answers" in capsys.readouterr().err
    os.utime(folder / "encoder" / "config.json", (0, 0))  # a model that was written anew
    assert run(folder, out, "--batch-size", "5") == 2
    assert "embedder's files" in capsys.readouterr().err


def test_equal_sets_are_at_no_distance(folder):
    task = AudioSets(folder / "real", [folder / "near"], str(folder / "encoder"), str(folder / "classifier"))
    rows = task.look(task.sets()["reference"])
    figures = task.measures({"reference": rows, "same": rows})["same"]
    assert figures["FAD"].value == pytest.approx(0, abs=1e-6)
    assert sum(figures["KL"].above) == 0


def test_few_sounds_are_warned_of(folder):
    task = AudioSets(folder / "real", [folder / "near"], str(folder / "encoder"))
    rows = task.look(task.sets()["reference"][:8])
    with pytest.warns(UserWarning, match="covariances of 8 numbers by 8 vectors only"):
        task.measures({"reference": rows, "same": rows})


def test_what_changes_is_paired_by_the_names_of_sounds(folder, tmp_path):
    task = AudioSets(folder / "real", [folder / "near"], classifier=str(folder / "classifier"))
    rows = task.look(task.sets()["reference"]) + task.look(task.sets()["near"])
    real, near = rows[:COUNT], rows[COUNT:]
    found = task.measures({"reference": real, "a": near[:6], "b": near[:6][::-1], "c": near[6:]})
    same, other = (difference(found["a"]["KL"], found[name]["KL"]) for name in ("b", "c"))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert other.value != 0
    assert other.low is None


def test_a_row_does_not_depend_on_its_batch(folder):
    task = AudioSets(folder / "real", [folder / "near"], str(folder / "encoder"), str(folder / "classifier"))
    files = task.sets()["near"][:3]
    assert task.look(files) == [row for file in files for row in task.look([file])]


def test_folders_that_cannot_be_compared_are_told(folder, tmp_path):
    def sets(*generated, reference=folder / "real", classifier=None, **options):
        return AudioSets(reference, list(generated), "encoder", classifier, **options).sets()

    few, alone = tmp_path / "few", tmp_path / "alone"
    for number in range(3):
        sounds.save(sounds.noise(0.1), few / f"{number:02d}.wav")
    sounds.save(sounds.noise(0.1), alone / "other.wav")
    (tmp_path / "outer" / "base").mkdir(parents=True)
    with pytest.raises(UserError, match="different numbers of sounds: near 12, few 3"):
        sets(folder / "near", few)
    assert len(sets(folder / "near", few, unequal=True)["few"]) == 3
    with pytest.raises(UserError, match="has a single sound"):
        sets(alone)
    with pytest.raises(UserError, match=r"1 of 1 sounds of .* have no reference of the same name .*: other\.wav"):
        AudioSets(folder / "real", [alone], None, "classifier").sets()
    with pytest.raises(UserError, match="there is no folder"):
        sets(tmp_path / "none")
    with pytest.raises(UserError, match="Name a folder in it: base"):
        sets(tmp_path / "outer")
    with pytest.raises(UserError, match="given twice"):
        sets(folder / "near", folder / "near")
    sounds.save(sounds.noise(0.1), few / "00.flac")
    with pytest.raises(UserError, match="several sounds called '00'"):
        sets(few)
    (alone / "bad.wav").write_bytes(b"RIFF")
    task = AudioSets(folder / "real", [alone], str(folder / "encoder"))
    with pytest.raises(UserError, match=r"bad\.wav"):
        task.look(task.sets()["alone"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classifier": "a", "layer": 1},
        {"classifier": "a", "embedder_revision": "main"},
        {"embedder": "a", "classifier_revision": "main"},
        {"embedder": "a", "window": 0.0},
        {"embedder": "a", "jackknife": 1},
        {"embedder": "a", "batch_size": 0},
        {"embedder": "a", "device": "gpu"},
    ],
)
def test_options_out_of_range_are_refused(options, tmp_path):
    with pytest.raises(ConfigError):
        AudioSets(tmp_path, [tmp_path], **options)
