import base64

import numpy as np
import pytest
import torch

from modalign.core.errors import RowError
from modalign.core.media import Media, MediaSlice
from modalign.modalities.audio.reading.reader import read_clip
from modalign.plugins.formats.media.kind import same_media
from modalign.plugins.formats.sounds import SOUND
from tests import sounds

CLIP = sounds.tone(seconds=0.05, channels=2)
WAV = sounds.encoded(CLIP, "WAV", "PCM_16")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.wav", Media("a.wav")),
        ("folder with blanks/ä.flac", Media("folder with blanks/ä.flac")),
        ("//v/a.wav", Media("//v/a.wav")),
        (WAV, Media(data=WAV)),
        (bytearray(WAV), Media(data=WAV)),
        ({"bytes": WAV, "path": None}, Media(data=WAV)),
        ({"bytes": WAV, "path": "a.wav"}, Media("a.wav", WAV)),
        ({"bytes": None, "path": "a.wav"}, Media("a.wav")),
        ({"path": "a.wav", "start": None, "end": None}, Media("a.wav")),
        ({"path": "a.wav", "start": 1.5, "seconds": 2}, MediaSlice("a.wav", None, 1.5, 2.0)),
        ({"path": "a.wav", "start": 1.5, "end": 4}, MediaSlice("a.wav", None, 1.5, 2.5)),
        ({"path": "a.wav", "start": 3}, MediaSlice("a.wav", None, 3.0, None)),
        ({"path": "a.wav", "end": 4}, MediaSlice("a.wav", None, 0.0, 4.0)),
        ({"bytes": WAV, "seconds": 0.01}, MediaSlice("", WAV, 0.0, 0.01)),
        ("data:audio/x-wav;base64," + base64.b64encode(WAV).decode(), Media(data=WAV)),
        (base64.b64encode(WAV).decode(), Media(data=WAV)),
    ],
)
def test_every_way_to_write_a_sound(value, expected):
    assert SOUND.looks_like(value)
    assert SOUND.read(value, "audio") == expected


@pytest.mark.parametrize("format", ["FLAC", "OGG", "MP3"])
def test_base64_text_of_other_files_is_told_from_paths(format):
    content = sounds.encoded(CLIP, format)
    assert SOUND.read(base64.encodebytes(content).decode(), "audio") == Media(data=content)


@pytest.mark.parametrize(
    "array",
    [
        CLIP.samples.numpy(),
        CLIP.samples.tolist(),
        CLIP.samples.double().numpy(),
        CLIP.samples.numpy()[0],
        CLIP.samples[0].tolist(),
        [0, 1, 0, -1],
    ],
)
def test_decoded_samples_are_kept_as_they_are(array):
    value = {"array": array, "sampling_rate": 16000, "path": None}
    assert SOUND.looks_like(value)
    clip = read_clip(SOUND.read(value, "audio"))
    assert clip.rate == 16000
    assert torch.equal(clip.samples, torch.tensor(np.atleast_2d(np.asarray(array)), dtype=torch.float32))
    assert SOUND.read(value, "audio") == SOUND.read(value, "audio")  # the bytes have no date in them


def test_decoded_samples_keep_the_name_of_their_file():
    value = {"array": [0.5, float("nan")], "sampling_rate": 16000, "path": "rain.wav"}
    with pytest.raises(RowError, match=r"not finite: 'rain\.wav'"):
        read_clip(SOUND.read(value, "audio"))


def test_a_part_of_decoded_samples():
    sliced = SOUND.read(
        {"array": CLIP.samples[0].tolist(), "sampling_rate": 16000, "start": 0.02, "end": 0.03}, "audio"
    )
    assert torch.equal(read_clip(sliced).samples[0], CLIP.samples[0, 320:480])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "no value"),
        (3, "not a sound: int 3"),
        (["a.wav"], "not a sound: list"),
        (np.zeros(3), "not a sound: ndarray"),
        (b"", "no sound: it has no bytes"),
        ({"bytes": None, "path": None}, "neither bytes nor a path"),
        ({"array": None, "sampling_rate": 8000}, "neither bytes nor a path"),
        ({"path": 3}, "not a path: int 3"),
        ({"url": "x"}, "a sound's mapping has 'url'"),
        ({"path": "a.wav", "duration": 3}, "a sound's mapping has 'duration'"),
        ({"path": "a.wav", "start": -1}, "not a part of a sound: start -1"),
        ({"path": "a.wav", "start": 3, "end": 3}, "not a part of a sound"),
        ({"path": "a.wav", "start": 3, "seconds": 0}, "not a part of a sound"),
        ({"path": "a.wav", "start": "3"}, "not a number: str '3'"),
        ({"path": "a.wav", "end": float("inf")}, "not a finite number"),
        ({"path": "a.wav", "end": 3, "seconds": 3}, "both seconds and end"),
        ({"array": [0.0], "sampling_rate": None}, "not a sampling rate: NoneType"),
        ({"array": [0.0]}, "not a sampling rate"),
        ({"array": [0.0], "sampling_rate": "16000"}, "not a sampling rate"),
        ({"array": [0.0], "sampling_rate": 0}, "not a sampling rate"),
        ({"array": [0.0], "sampling_rate": 8000.5}, "not a sampling rate"),
        ({"array": [0.0], "sampling_rate": float("nan")}, "not a sampling rate"),
        ({"array": [], "sampling_rate": 8000}, "not samples"),
        ({"array": "abc", "sampling_rate": 8000}, "not samples"),
        ({"array": [[0.0], [0.0, 1.0]], "sampling_rate": 8000}, "not samples"),
        ({"array": [0.0, None], "sampling_rate": 8000}, "not samples"),
        ({"array": [300, -2000], "sampling_rate": 8000}, "integers, whose full scale is not known"),
        ({"array": np.zeros((9, 2)), "sampling_rate": 8000}, "more channels than frames"),
        ("", "no sound: str ''"),
        ("https://example.org/a.wav", "a URL: "),
        ("data:audio/wav;base64,!!!", "not valid base64"),
        ("data:image/png;base64,QQ==", "not a sound"),
    ],
)
def test_anything_else_is_refused_with_the_column_and_a_cure(value, problem):
    with pytest.raises(RowError) as caught:
        SOUND.of({"audio": value}, "audio")
    assert problem in caught.value.message
    assert caught.value.column.startswith("audio")
    assert caught.value.cure


def test_relative_paths_start_from_the_root_or_the_folder_of_the_data(tmp_path):
    sliced = {"path": "b.wav", "start": 1}
    assert SOUND.read(sliced, "audio", root=str(tmp_path)) == MediaSlice(str(tmp_path / "b.wav"), None, 1.0, None)
    assert SOUND.read(sliced, "audio").located(tmp_path) == MediaSlice(str(tmp_path / "b.wav"), None, 1.0, None)


def test_parts_of_one_file_are_different_sounds():
    first, second = MediaSlice("a.wav", None, 0.0, 5.0), MediaSlice("./a.wav", None, 5.0, 5.0)
    assert not same_media(first, second)
    assert not same_media(first, Media("a.wav"))
    assert same_media(second, MediaSlice("a.wav", None, 5.0, 5.0))
