"""Every bad file is refused with its name, whether it is asked for its samples or for its length."""

import io
import os
import struct
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile
import torch

from modalign.core.errors import RowError
from modalign.core.media import Media, MediaSlice
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.reader import read_clip, sound_info, sound_key
from tests import sounds

SOUND = sounds.noise(1.0)
WAV = sounds.encoded(SOUND, "WAV", "PCM_16")
AIFF = sounds.encoded(SOUND, "AIFF")
FLAC = sounds.encoded(SOUND, "FLAC")
MP3 = sounds.encoded(SOUND, "MP3")
OGG = sounds.encoded(SOUND, "OGG")
OPUS = sounds.encoded(SOUND, "OGG", "OPUS")
W64 = sounds.encoded(SOUND, "W64", "PCM_16")
RF64 = sounds.encoded(SOUND, "RF64", "PCM_16")
AU = sounds.encoded(SOUND, "AU", "PCM_16")
NAME = "folder/name.wav"


def with_sample(value: float) -> bytes:
    samples = SOUND.samples.clone()
    samples[0, 7] = value
    return sounds.encoded(Clip(samples, SOUND.rate), "WAV", "FLOAT")


def changed(place: int, layout: str, value: int) -> bytes:
    field = struct.pack(layout, value)
    return WAV[:place] + field + WAV[place + len(field) :]


def piped_mp3(mode: str, *parts: Clip) -> bytes:
    """An MP3 without the first frame, which says how many there are."""
    clip, file = sounds.joined(*parts), io.BytesIO()
    soundfile.write(file, clip.samples[0].numpy(), clip.rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    content = file.getvalue()
    return content[content.index(content[:2], 4) :]


BAD = {
    "empty": (b"", "a file is empty"),
    "20 bytes of a header": (WAV[:20], "not a sound that can be read"),
    "text": (b"prompt,chosen\na,b\n" * 30, "not a sound that can be read"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), "not a sound that can be read"),
    "zeros": (bytes(4000), "not a sound that can be read"),
    "no samples": (sounds.encoded(sounds.silence(0.0)), "the sound is empty"),
    "a data chunk of no size": (changed(40, "<I", 0), "the sound is empty"),
    "a header only": (WAV[:44], "cut off: .* lacks 32000 of the bytes"),
    "half a WAV": (WAV[: len(WAV) // 2], "the sound is cut off"),
    "an odd number of bytes": (WAV[:-7], "cut off: .* lacks 7 of the bytes"),
    "half an AIFF": (AIFF[: len(AIFF) // 2], "the sound is cut off"),
    "no channels": (changed(22, "<H", 0), "not a sound that can be read"),
    "half a W64": (W64[: len(W64) // 2], "the sound is cut off"),
    "half an RF64": (RF64[: len(RF64) // 2], "the sound is cut off"),
    "half an AU": (AU[: len(AU) // 2], "the sound is cut off"),
    "an OGG in the middle of a page": (OGG[:-7], "the sound is cut off: .* lacks 7 of the bytes"),
    "an Opus in the table of a page": (OPUS[: OPUS.rindex(b"OggS") + 29], "the sound is cut off"),
    "an Opus in the name of a page": (OPUS[: OPUS.rindex(b"OggS") + 6], "the sound is cut off"),
    "FLAC from a pipe": (FLAC[:21] + bytes([FLAC[21] & 0xF0, 0, 0, 0, 0]) + FLAC[26:], "does not say how long it is"),
    "an MP3 of variable bit rate from a pipe": (
        piped_mp3("VARIABLE", sounds.noise(2.0), sounds.silence(1.0)),
        r"does not say how long it is: .* of its 3\.\d seconds",
    ),
    "an MP3 that ends before its length": (MP3[: MP3.index(b"Xing") + 6], "not a sound that can be read"),
    "no whole frame of an MP3": (b"\xff\xfb\x90\x00" + bytes(300), "no frame of an MP3 in it is whole"),
    "no rate": (changed(24, "<I", 0), "not a sound that can be read"),
    "an absurd rate": (changed(24, "<I", 4_000_000_000), "not a sound that can be read"),
    "a rate that nothing can be resampled from": (changed(24, "<I", 2_147_483_647), "not a sampling rate"),
    "one frame a second": (changed(24, "<I", 1), "not a sampling rate"),
    "the head of an OGG": (OGG[:60], "not a sound that can be read"),
}
SEEN_WHEN_DECODED = {
    "half a FLAC": (FLAC[: len(FLAC) // 2], "cannot be decoded"),
    "half an MP3": (MP3[:2000], "cut off: .* where its header promises 16000"),
    "NaN": (with_sample(float("nan")), "not finite"),
    "infinity": (with_sample(float("-inf")), "not finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_headers(case: str) -> None:
    content, problem = BAD[case]
    for read in (read_clip, sound_info):
        with pytest.raises(RowError, match=problem) as caught:
            read(Media(NAME, content))
        assert NAME in str(caught.value)
        assert caught.value.cure


@pytest.mark.parametrize("case", SEEN_WHEN_DECODED)
def test_bad_samples(case: str) -> None:
    content, problem = SEEN_WHEN_DECODED[case]
    with pytest.raises(RowError, match=problem) as caught:
        read_clip(Media(NAME, content))
    assert NAME in str(caught.value)
    assert caught.value.cure


def test_what_is_whole_of_a_damaged_file_is_read() -> None:
    flac = Media(NAME, FLAC[: len(FLAC) * 3 // 4])
    assert (read_clip(flac, 0.0, 0.25).samples - SOUND.samples[:, :4000]).abs().max() <= 2**-15
    samples = read_clip(Media(NAME, with_sample(float("nan"))), 0.5).samples
    assert torch.equal(samples, SOUND.samples[:, 8000:])


# What ffmpeg, SoX and others write who cannot go back to the header.
@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000 - 36])
def test_a_wav_that_was_piped_says_nothing_of_its_length(size: int) -> None:
    assert read_clip(Media(NAME, changed(40, "<I", size))).samples.shape == (1, 16000)


@pytest.mark.parametrize("content", [WAV, W64, RF64, AU, OGG, OPUS], ids=["WAV", "W64", "RF64", "AU", "OGG", "Opus"])
def test_what_is_whole_lacks_nothing(content: bytes) -> None:
    for tag in (b"", b"TAG" + bytes(125)):
        assert sound_info(Media(NAME, content + tag)).seconds == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_length_whose_guess_is_not_too_short_is_read(mode: str) -> None:
    media = Media(NAME, piped_mp3(mode, sounds.silence(1.0), sounds.noise(2.0)))
    assert read_clip(media).samples.shape[1] == sound_info(media).frames
    assert sound_info(media).seconds == pytest.approx(3.0, abs=0.15)


def test_a_damaged_header_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RowError, match="not a sound that can be read"):
        read_clip(Media(NAME, sounds.encoded(SOUND, "AIFF", "FLOAT")[:60]))
    assert capfd.readouterr().err == ""


def test_chunks_after_the_samples_are_passed_over() -> None:
    trailing = Media(NAME, WAV + b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert read_clip(trailing).samples.shape == (1, 16000)


@pytest.mark.parametrize("read", [read_clip, sound_info, sound_key])
def test_paths_that_are_no_files(tmp_path: Path, read: Any) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    for path, problem in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none.wav", "No such file"),
        (pipe, "a pipe or a device"),
        (Path("/dev/zero"), "a pipe or a device"),
    ):
        with pytest.raises(RowError, match=problem) as caught:
            read(Media(str(path)))
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("response", [None, "a.wav", np.zeros(3), torch.zeros(1, 3)])
@pytest.mark.parametrize("read", [read_clip, sound_info, sound_key])
def test_what_is_no_sound(response: Any, read: Any) -> None:
    with pytest.raises(RowError, match="this is not a sound"):
        read(response)


def test_the_name_of_a_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(3200))
    with pytest.raises(RowError, match="not a sound that can be read"):
        read_clip(Media(str(path)))
    path.write_bytes(WAV)
    assert read_clip(Media(str(path))).samples.shape == (1, 16000)


@pytest.mark.parametrize(
    ("start", "seconds", "problem"),
    [
        (1.0, 0.5, "the slice holds no sound"),
        (1.5, None, "the slice holds no sound"),
        (0.5, 0.0, "the slice holds no sound"),
        (-0.5, 1.0, "the slice holds no sound"),
        (0.5, 0.7, "the slice ends after the sound"),
        (1e308, None, "the slice holds no sound"),
        (0.5, 1e308, "the slice ends after the sound"),
    ],
)
def test_slices_that_are_not_in_the_file(start: float, seconds: float | None, problem: str) -> None:
    for read in (read_clip, sound_info):
        with pytest.raises(RowError, match=problem) as caught:
            read(MediaSlice(NAME, WAV, start, seconds))
        assert NAME in str(caught.value)


def test_a_slice_may_end_a_rounding_after_the_file() -> None:
    assert read_clip(MediaSlice(NAME, WAV, 0.5, 0.55)).seconds == 0.5


def test_clips_that_cannot_be_used() -> None:
    with pytest.raises(RowError, match="the sound is empty: the generated clip"):
        sound_info(sounds.silence(0.0))
    with pytest.raises(RowError, match="not finite: the generated clip"):
        read_clip(Clip(torch.tensor([[0.0, float("nan")]]), 8000))


COMPRESSED = {
    "MPEG-4": b"\x00\x00\x00\x20ftypM4A " + bytes(100),
    "WebM": b"\x1a\x45\xdf\xa3" + bytes(100),
    "Windows Media": b"\x30\x26\xb2\x75" + bytes(100),
    "AAC": b"\xff\xf1\x50\x80" + bytes(100),
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_what_libsndfile_does_not_know_names_what_to_install(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(RowError, match=rf"needs torchcodec to be read: '{NAME}' is {kind}") as caught:
        read_clip(Media(NAME, COMPRESSED[kind]))
    assert "pip install torchcodec" in caught.value.cure


class FakeDecoder:
    """What torchcodec's AudioDecoder offers, over a sound in memory."""

    sound = sounds.noise(1.0, channels=2)

    def __init__(self, source: BinaryIO) -> None:
        assert source.read(2) == COMPRESSED["AAC"][:2]  # a file, of which a slice does not need all
        self.metadata = SimpleNamespace(sample_rate=16000, num_channels=2, duration_seconds=1.0)

    def get_samples_played_in_range(self, start_seconds: float, stop_seconds: float) -> Any:
        first, last = round(start_seconds * 16000), round(stop_seconds * 16000)
        return SimpleNamespace(data=self.sound.samples[:, first:last])


class NoFfmpeg:
    def __init__(self, source: BinaryIO) -> None:
        raise RuntimeError("Could not load libtorchcodec. Likely causes: FFmpeg is not properly installed")


class Damaged:
    def __init__(self, source: BinaryIO) -> None:
        raise ValueError("Failed to open input buffer: Invalid data found\nPlease report an issue")


def install(monkeypatch: pytest.MonkeyPatch, decoder: Any) -> None:
    module = ModuleType("torchcodec.decoders")
    module.AudioDecoder = decoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)


def test_torchcodec_reads_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeDecoder)
    media = Media(NAME, COMPRESSED["AAC"])
    assert torch.equal(read_clip(media).samples, FakeDecoder.sound.samples)
    assert torch.equal(read_clip(media, 0.25, 0.5).samples, FakeDecoder.sound.samples[:, 4000:12000])
    assert sound_info(media).frames == 16000


def test_the_frames_of_an_aac_file_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchcodec guesses its length from the bit rate of its beginning."""
    install(monkeypatch, FakeDecoder)
    size = 50
    frame = bytes([0xFF, 0xF1, 0x60, 0x40, size >> 3, (size & 7) << 5, 0]) + bytes(size - 7)  # 16 kHz, 1024 samples
    assert sound_info(Media(NAME, frame * 10)).frames == 10 * 1024
    assert sound_info(Media(NAME, frame * 10 + bytes(99))).frames == 10 * 1024
    assert sound_info(Media(NAME, frame + bytes(2**17))).frames == 16000


@pytest.mark.parametrize(("decoder", "problem"), [(NoFfmpeg, "needs FFmpeg"), (Damaged, "cannot be decoded")])
def test_torchcodec_that_does_not_read(decoder: Any, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, decoder)
    with pytest.raises(RowError, match=problem) as caught:
        read_clip(Media(NAME, COMPRESSED["AAC"]))
    assert NAME in str(caught.value)
    assert "report" not in str(caught.value)
