"""Every kind of file that libsndfile reads becomes the samples that it holds, a slice of it the same part of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import RowError
from modalign.core.media import Media, MediaSlice
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading import reader
from modalign.modalities.audio.reading.decoders import SoundfileDecoder
from modalign.modalities.audio.reading.reader import SoundInfo, read_clip, sound_info, sound_key
from tests import sounds

PRECISION = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-24, "FLOAT": 0.0, "DOUBLE": 0.0}


@pytest.mark.parametrize("subtype", PRECISION)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_wav_of_every_depth_keeps_its_samples(subtype: str, channels: int) -> None:
    clip = sounds.noise(0.1, 22050, channels=channels)
    read = read_clip(Media("a.wav", sounds.encoded(clip, "WAV", subtype)))
    assert (read.rate, read.channels, read.samples.dtype) == (22050, channels, torch.float32)
    assert (read.samples - clip.samples).abs().max() <= PRECISION[subtype]


@pytest.mark.parametrize(
    ("format", "subtype"), [("FLAC", "PCM_24"), ("AIFF", "PCM_24"), ("CAF", "FLOAT"), ("AU", "FLOAT")]
)
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_formats_without_loss_keep_every_sample(format: str, subtype: str, rate: int) -> None:
    clip = sounds.chirp(seconds=0.05, rate=rate, channels=2)
    media = Media("a.mp3", sounds.encoded(clip, format, subtype))  # the name is not looked at
    assert (read_clip(media).samples - clip.samples).abs().max() <= 2**-23
    assert sound_info(media) == SoundInfo(rate, 2, round(0.05 * rate))


@pytest.mark.parametrize("format", ["MP3", "OGG"])
def test_formats_with_loss_stay_near(format: str) -> None:
    clip = sounds.tone(440, 1.0)
    read = read_clip(sounds.media(clip, format))
    assert read.samples.shape == clip.samples.shape
    assert (read.samples - clip.samples).abs().max() < 0.05


def test_floating_point_beyond_full_scale_is_kept() -> None:
    assert read_clip(sounds.media(sounds.tone(level=3.0))).samples.max() > 2.9


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("start", [0.0, 0.25, 0.77, 2.5])
def test_a_part_is_the_part_of_the_whole(format: str, start: float) -> None:
    clip = sounds.joined(sounds.tone(440, 1.0), sounds.noise(1.0, seed=3), sounds.chirp(seconds=1.0))
    media = sounds.media(clip, format)
    whole, part = read_clip(media), read_clip(media, start, 0.5)
    first = round(start * clip.rate)
    assert part.samples.shape == (1, 8000)
    assert torch.allclose(part.samples, whole.samples[:, first : first + 8000], atol=1e-5)
    sliced = MediaSlice("a", media.data, start, 0.5)
    assert torch.equal(read_clip(sliced).samples, part.samples)
    assert sound_info(sliced) == SoundInfo(clip.rate, 1, 8000)


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
def test_parts_of_mp3_are_exact_wherever_they_begin(rate: int, channels: int) -> None:
    clip = sounds.joined(*(sounds.noise(1.0, rate, channels=channels, seed=seed) for seed in range(3)))
    media = sounds.media(clip, "MP3")
    whole = read_clip(media).samples
    for first in range(0, 2 * rate, 6131):
        part = read_clip(media, first / rate, 0.1).samples
        assert torch.allclose(part, whole[:, first : first + part.shape[1]], atol=1e-5), first


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 4000),
    start=st.floats(0, 0.5),
    seconds=st.none() | st.floats(0, 0.5),
    cut=st.none() | st.tuples(st.floats(0, 0.3), st.none() | st.floats(0.001, 0.3)),
)
def test_any_part_is_what_slicing_the_samples_gives_or_refused(
    frames: int, start: float, seconds: float | None, cut: Any
) -> None:
    samples = torch.arange(2 * frames, dtype=torch.float32).reshape(2, frames)
    clip = Clip(samples, 8000)
    data = sounds.encoded(clip, "WAV", "FLOAT")
    media = Media("a", data) if cut is None else MediaSlice("a", data, *cut)
    first, last = (0, frames) if cut is None else (round(cut[0] * 8000), frames)
    if cut is not None and cut[1] is not None:
        last = min(round((cut[0] + cut[1]) * 8000), frames)
    wanted = samples[:, first:last][:, round(start * 8000) :]
    wanted = wanted if seconds is None else wanted[:, : max(round((start + seconds) * 8000) - round(start * 8000), 0)]
    try:
        read = read_clip(media, start, seconds).samples
    except RowError:
        is_outside = cut is not None and sum(filter(None, cut)) > frames / 8000
        assert is_outside or not wanted.shape[1]
    else:
        assert torch.equal(read, wanted)


def test_a_generated_clip_is_taken_as_it_is() -> None:
    clip = sounds.tone(seconds=1.0, channels=2)
    assert torch.equal(read_clip(clip).samples, clip.samples)
    assert torch.equal(read_clip(clip, 0.25, 0.5).samples, clip.samples[:, 4000:12000])
    assert sound_info(clip) == SoundInfo(16000, 2, 16000)
    assert sound_info(clip).seconds == 1.0


def test_only_the_slice_of_a_long_file_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hour.wav"
    frames = 3600 * 16000
    header = sounds.encoded(sounds.silence(0.001), "WAV", "PCM_16")[:44]
    with path.open("wb") as file:  # an hour that takes no room on disk: the file has a hole
        file.write(header[:40] + (2 * frames).to_bytes(4, "little"))
        file.seek(44 + 2 * frames - 1)
        file.write(b"\x40")
    decoded = []
    read = SoundfileDecoder.read

    def counted(self: SoundfileDecoder, first: int, count: int) -> torch.Tensor:
        decoded.append(count)
        return read(self, first, count)

    monkeypatch.setattr(SoundfileDecoder, "read", counted)
    assert sound_info(Media(str(path))).seconds == 3600
    assert read_clip(MediaSlice(str(path), None, 3599.5, 0.5)).samples[0, -1] == pytest.approx(0.5, abs=0.01)
    assert read_clip(Media(str(path)), 1800.0, 2.0).seconds == 2.0
    assert decoded == [8000, 32000]
    assert len(sound_key(Media(str(path)))) == 32


def test_the_whole_of_a_file_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_NUMBERS", 8000)
    media = sounds.media(sounds.silence(1.0, 8000, channels=2), "FLAC", name="bomb.flac")
    with monkeypatch.context() as patched:
        patched.setattr(SoundfileDecoder, "read", lambda *_: pytest.fail("it was decoded"))
        with pytest.raises(RowError, match=r"the sound is too long: 'bomb\.flac' has 8000 frames of 2 channels"):
            read_clip(media)
    assert read_clip(media, 0.5).samples.shape == (2, 4000)
    assert sound_info(media).frames == 8000


def test_what_ogg_seeks_wrongly_in_its_last_page_is_read_rightly() -> None:
    clip = sounds.joined(sounds.tone(440, 2.0), sounds.noise(1.0, seed=3), sounds.chirp(seconds=3.0))
    media = sounds.media(clip, "OGG")
    whole = read_clip(media).samples
    for first in range(2 * clip.rate, 6 * clip.rate - 1600, 7001):
        part = read_clip(media, first / clip.rate, 0.1).samples
        assert torch.allclose(part, whole[:, first : first + 1600], atol=1e-5), first


def test_keys_are_of_content(tmp_path: Path) -> None:
    clip = sounds.tone()
    media = sounds.media(clip)
    assert media.data is not None
    file = tmp_path / "a.wav"
    file.write_bytes(media.data)
    keys = {
        "file": sound_key(Media(str(file))),
        "slice": sound_key(MediaSlice(str(file), None, 0.1, 0.2)),
        "other slice": sound_key(MediaSlice(str(file), None, 0.1, 0.3)),
        "clip": sound_key(clip),
        "clip at another rate": sound_key(Clip(clip.samples, 8000)),
        "other": sound_key(sounds.media(sounds.tone(441))),
    }
    assert len(set(keys.values())) == len(keys)
    assert all(len(key) == 32 for key in keys.values())
    assert sound_key(Media("elsewhere.wav", media.data)) == keys["file"]
    assert sound_key(Clip(clip.samples.clone(), clip.rate)) == keys["clip"]
    file.write_bytes(media.data[:-1] + b"\x00")
    assert sound_key(Media(str(file))) != keys["file"]
