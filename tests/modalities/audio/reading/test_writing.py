"""WAV files that are written are read as they were."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from modalign.core.errors import UserError
from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.reader import read_clip
from modalign.modalities.audio.reading.writing import Subtype, wav_bytes, write_wav
from tests import sounds


@pytest.mark.parametrize(("subtype", "precision"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0.0)])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_is_read(subtype: Subtype, precision: float, channels: int, tmp_path: Path) -> None:
    clip = sounds.noise(0.1, 44100, channels=channels)
    path = tmp_path / "a" / "b" / "c.wav"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_wav(clip, path, subtype)
    about = soundfile.info(str(path))
    assert (about.subtype, about.channels, about.frames, about.samplerate) == (subtype, channels, 4410, 44100)
    assert (read_clip(Media(str(path))).samples - clip.samples).abs().max() <= precision


def test_a_float_file_is_read_by_others() -> None:
    clip = sounds.stereo(sounds.tone(level=2.0), sounds.noise())
    samples, rate = soundfile.read(io.BytesIO(wav_bytes(clip, "FLOAT")), dtype="float32")
    assert rate == clip.rate
    assert np.array_equal(samples.T, clip.samples.numpy())


def test_clipping_is_told(tmp_path: Path) -> None:
    clip = Clip(torch.tensor([[0.0, 1.5, -2.0, 0.5]]), 8000)
    with pytest.warns(UserWarning, match=r"a\.wav: 2 samples \(50\.00%\) are beyond full scale"):
        write_wav(clip, tmp_path / "a.wav")
    read = read_clip(Media(str(tmp_path / "a.wav"))).samples[0]
    assert torch.allclose(read, torch.tensor([0.0, 1.0, -1.0, 0.5]), atol=1e-4)


@pytest.mark.parametrize(
    "samples", [torch.tensor([[0.0, float("nan")]]), torch.tensor([[float("inf")]]), torch.zeros(1, 0), torch.zeros(4)]
)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_what_cannot_be_written_is_refused(samples: torch.Tensor, subtype: Subtype, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_wav(Clip(samples, 8000), tmp_path / "a.wav", subtype)
    assert not (tmp_path / "a.wav").exists()


def test_half_precision_and_gradients_are_written(tmp_path: Path) -> None:
    samples = torch.full((1, 8), 0.25, dtype=torch.bfloat16, requires_grad=True)
    write_wav(Clip(samples, 8000), tmp_path / "a.wav")
    assert torch.allclose(read_clip(Media(str(tmp_path / "a.wav"))).samples, torch.full((1, 8), 0.25))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"a\.wav cannot be written"):
        write_wav(sounds.tone(), tmp_path / "file" / "a.wav")
