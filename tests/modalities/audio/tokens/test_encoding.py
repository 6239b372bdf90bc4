"""From sounds to codes: the model's own front end, cut or refused, computed once and kept."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from modalign.core.batch import Comparison
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.media import Media
from modalign.core.objectives.base import Needs
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.resampling import resampled
from modalign.modalities.audio.tokens.modality import AudioTokens
from modalign.modalities.audio.tokens.sounds import SoundReader
from tests.sounds import media, noise, save, silence, stereo, tone
from tests.tiny_audio.tokens import HOP, MODELS, RATE

from .conftest import batch_of, pair

MakeTokens = Callable[..., AudioTokens]
CPU = torch.device("cpu")


def codes_of(modality: AudioTokens, sound: Any) -> torch.Tensor:
    batch = batch_of(modality, [pair("a dog", sound, sound)])
    return modality.codes_of(batch.inputs)[0]


def test_musicgens_codes_are_those_of_its_own_front_end(policies: dict[str, Any]) -> None:
    modality, _ = policies["musicgen"]
    sound = noise(0.33, RATE, level=0.5)
    inputs = AutoProcessor.from_pretrained(modality.model)(
        audio=sound.samples[0].numpy(), sampling_rate=RATE, return_tensors="pt"
    )
    own = modality.codec.encode(**inputs).audio_codes[0, 0].T
    assert torch.equal(codes_of(modality, sound), own)
    assert own.unique().numel() > 3


def test_stereo_codes_are_interleaved_as_musicgen_does(policies: dict[str, Any]) -> None:
    modality, policy = policies["musicgen_stereo"]
    sound = stereo(noise(0.2, RATE, level=0.5), tone(300, 0.2, RATE))
    with torch.no_grad():
        prepared = policy.float()._prepare_audio_encoder_kwargs_for_generation(sound.samples[None], {})
    policy.double()
    assert torch.equal(codes_of(modality, sound), prepared["decoder_input_ids"].T)


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(MODELS)), samples=st.integers(1, 700), rate=st.sampled_from([RATE, 8000, 2205]))
def test_sizes_are_known_before_the_codec_runs(policies: dict[str, Any], name: str, samples: int, rate: int) -> None:
    modality, _ = policies[name]
    sound = Clip(torch.randn(1, samples, generator=torch.Generator().manual_seed(samples)) / 3, rate)
    example = modality.encode(pair("a dog", sound, sound))
    assert example.cells[0].frames == len(modality.encode_sound(example.cells[0].samples))
    assert example.sizes[0] == modality.family.pattern.size(example.cells[0].frames, True)
    assert not example.truncated


def test_rates_and_channels(tokens: MakeTokens) -> None:
    mono, both = tokens("musicgen"), tokens("musicgen_stereo")
    high = tone(300, 0.3, 16000)
    cell = mono.encode(pair("a dog", stereo(high, high), high)).cells
    torch.testing.assert_close(cell[0].samples, resampled(high, RATE).samples)
    torch.testing.assert_close(cell[0].samples, cell[1].samples)
    assert both.encode(pair("a dog", high, high)).cells[0].samples.shape == (2, 480)


@pytest.mark.parametrize("name", MODELS)
def test_longer_sounds_are_cut_or_refused(tokens: MakeTokens, name: str, tmp_path: Path) -> None:
    modality = tokens(name, seconds=0.1)
    short, long = noise(0.1, RATE), noise(0.7, RATE)
    example = modality.encode(pair("a dog", long, short))
    assert [cell.whole for cell in example.cells] == [False, True]
    assert [cell.frames for cell in example.cells] == [5, 5]
    kept = long.samples[:, : 5 * HOP].expand(modality.family.channels, -1)
    assert torch.equal(example.cells[0].samples, kept)
    assert example.truncated
    strict = tokens(name, seconds=0.1, long="error")
    assert not strict.encode(pair("a dog", short, short)).truncated
    path = str(save(long, tmp_path / "long.wav"))
    with pytest.raises(RowError, match=r"0\.700 seconds, and 0\.100 are the most \(.*long\.wav"):
        strict.encode(pair("a dog", Media(path), short))


def test_an_hour_is_not_read_whole(tokens: MakeTokens, tmp_path: Path) -> None:
    path = save(silence(3600, 100), tmp_path / "hour.wav")
    cell = tokens("musicgen", seconds=1.0).encode(pair("a dog", Media(str(path)), silence(0.1))).cells[0]
    assert cell.samples is not None
    assert cell.samples.shape == (1, RATE)


def test_rows_that_cannot_be_used(tokens: MakeTokens, tmp_path: Path) -> None:
    sound = noise(0.1, RATE)
    with pytest.raises(RowError, match="the prompt is not text"):
        tokens("musicgen").encode(pair(["a"], sound, sound))  # type: ignore[arg-type]
    with pytest.raises(RowError, match="the prompt is empty"):
        tokens("dia").encode(pair("", sound, sound))
    with pytest.raises(RowError, match="the prompt is too long: 200 bytes, and the model takes 128"):
        tokens("dia").encode(pair("a" * 200, sound, sound))
    many = Clip(sound.samples.repeat(6, 1), RATE)
    with pytest.raises(RowError, match=r"has 6 channels: 2 are wanted.*\(.*six\.wav"):
        tokens("musicgen_stereo").encode(pair("a", Media(str(save(many, tmp_path / "six.wav"))), sound))
    (tmp_path / "bad.wav").write_text("no sound")
    with pytest.raises(RowError, match=r"bad\.wav"):
        tokens("musicgen").encode(pair("a", Media(str(tmp_path / "bad.wav")), sound))


def test_options_that_cannot_be_had(tokens: MakeTokens, token_folder: Callable[[str], Path], tmp_path: Path) -> None:
    for options, message in [
        ({"seconds": -1.0}, "seconds is -1"),
        ({"long": "loop"}, "long is 'loop'"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"cache": "memory"}, "cache is 'memory'"),
        ({"cache": "off", "cache_folder": "x"}, "cache_folder is given"),
    ]:
        with pytest.raises(ConfigError, match=message):
            AudioTokens("somewhere", **options)  # type: ignore[arg-type]
    for seconds in (0.001, 60.0):
        with pytest.raises(ConfigError, match=r"the model takes 1 to 125"):
            tokens("musicgen", seconds=seconds).load()
    with pytest.raises(UserError, match="There is no folder"):
        tokens("musicgen", processor="./nowhere").encode(pair("a", silence(), silence()))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UserError, match=r"GPT2Config, which no family of token models serves; served are .*Musicgen"):
        AudioTokens(str(tmp_path)).load()


def rows() -> list[Comparison]:
    first, second = media(noise(0.2, RATE, level=0.5)), media(tone(300, 0.3, RATE))
    return [pair("a dog", first, second), pair("beeps", second, first), pair("wind", media(noise(2, RATE)), first)]


@pytest.mark.parametrize("name", MODELS)
def test_codes_are_computed_once(
    tokens: MakeTokens, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"cache": "disk", "cache_folder": str(tmp_path), "seconds": 0.5}
    cached, live = tokens(name, **options), tokens(name, seconds=0.5)
    policy = live.load()
    expected = live.likelihood(policy, batch_of(live, rows()), Needs())
    before = [content_hash(cell) for row in rows() for cell in cached.encode(row).cells]
    assert cached.prepare(rows(), CPU, only_tell=True)
    assert "3 sounds to turn into codes" in capsys.readouterr().out
    assert not list(tmp_path.glob("codes-*/*.safetensors"))
    cached.prepare(rows(), CPU)
    cached.prepare(rows(), CPU)
    assert "the codes of all 3 sounds are there" in capsys.readouterr().out

    monkeypatch.setattr(SoundReader, "read", lambda *_: pytest.fail("a sound was decoded"))
    monkeypatch.setattr(AudioTokens, "encode_sound", lambda *_: pytest.fail("the codec ran"))
    again = tokens(name, **options)
    batch = batch_of(again, rows())
    assert "samples" not in batch.inputs
    found = again.likelihood(policy, batch, Needs())
    assert torch.equal(found.logps, expected.logps)
    assert torch.equal(found.sizes, expected.sizes)
    # A cached reference finds its rows, whether codes are cached or not.
    assert [content_hash(cell) for row in rows() for cell in again.encode(row).cells] == before
    assert again.fingerprint() == live.fingerprint()


def test_some_codes_are_there_and_some_are_not(tokens: MakeTokens, tmp_path: Path) -> None:
    live = tokens("musicgen", seconds=0.5)
    half = tokens("musicgen", seconds=0.5, cache="disk", cache_folder=str(tmp_path))
    half.prepare(rows()[:2], CPU)
    batch = batch_of(half, rows())
    assert batch.inputs["live"].tolist() == [4]
    assert torch.equal(half.codes_of(batch.inputs), live.codes_of(batch_of(live, rows()).inputs))


def test_sounds_are_encoded_once_for_policy_and_reference(
    policies: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    modality, policy = policies["musicgen"]
    batch = batch_of(modality, rows()[:2])
    with torch.no_grad():
        expected = modality.likelihood(policy, batch, Needs()).logps
        encoded = modality.encode_batch(batch)
        monkeypatch.setattr(AudioTokens, "encode_sound", None)
        assert torch.equal(modality.likelihood(policy, modality.encode_batch(encoded), Needs()).logps, expected)
    assert "samples" in batch.inputs
    assert "samples" not in encoded.inputs


def test_another_codec_or_length_has_another_cache(tokens: MakeTokens, tmp_path: Path) -> None:
    from tests.tiny_audio.tokens import build

    options: dict[str, Any] = {"cache": "disk", "cache_folder": str(tmp_path / "cache")}
    other = AudioTokens(str(build("musicgen", tmp_path / "other", seed=1)), **options)
    made = [tokens("musicgen", **options), tokens("musicgen", seconds=0.5, **options), tokens("dia", **options)]
    folders = {modality.cache.store.folder for modality in [*made, other] if modality.cache is not None}
    assert len(folders) == 4
    assert made[0].fingerprint() != other.fingerprint()
    # A trained model keeps its codec.
    assert tokens("musicgen", **options).cache.store.folder in folders  # type: ignore[union-attr]


@pytest.mark.parametrize("name", MODELS)
def test_a_codec_draws_nothing_as_it_is_loaded(tokens: MakeTokens, name: str) -> None:
    modality = tokens(name)
    state = torch.get_rng_state()
    assert modality.codec is not None
    assert torch.equal(torch.get_rng_state(), state)


def test_the_codec_does_not_travel_to_workers(tokens: MakeTokens) -> None:
    modality = tokens("musicgen")
    codes_of(modality, noise(0.1, RATE))
    assert modality._codec is not None
    copy = pickle.loads(pickle.dumps(modality))
    assert copy._codec is None
    assert copy.encode(pair("a dog", silence(0.2), silence(0.1))).sizes == (30, 15)


def test_a_damaged_shard_is_made_anew(tokens: MakeTokens, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"cache": "disk", "cache_folder": str(tmp_path), "seconds": 0.5}
    tokens("musicgen", **options).prepare(rows(), CPU)
    (shard,) = tmp_path.glob("codes-*/*.safetensors")
    shard.write_bytes(b"damaged!" * 8)
    modality = tokens("musicgen", **options)
    modality.prepare(rows(), CPU)
    assert "was damaged and is removed" in capsys.readouterr().out
    assert "samples" not in batch_of(modality, rows()).inputs
