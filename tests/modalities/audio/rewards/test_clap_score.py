"""CLAP scores against transformers' own, on tiny models with random weights."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modalign.core.errors import ConfigError, UserError
from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.clap_score import ClapScore
from tests import sounds
from tests.tiny_audio.clap import LONGEST, clap

RATE = 48000
AUDIO = SimpleNamespace(name="audio")
PROMPTS = ["a dog", "noise", "a dog", "beep"]


@pytest.fixture(scope="module", params=["rand_trunc", "fusion"])
def folder(request, tmp_path_factory):
    return clap(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return clap(tmp_path_factory.mktemp("plain"))


def clips(rate=RATE):
    """None is longer than the window of a second; one has exactly its length."""
    return [
        sounds.tone(300, 0.3, rate),
        sounds.noise(0.5, rate),
        sounds.chirp(seconds=1.0, rate=rate),
        sounds.beeps(seconds=0.71, rate=rate),
    ]


def expected(folder, prompts, waveforms):
    """The cosines that transformers finds, of one sound at a time."""
    from transformers import ClapModel, ClapProcessor

    model, processor = ClapModel.from_pretrained(folder).eval(), ClapProcessor.from_pretrained(folder)
    found = []
    for prompt, waveform in zip(prompts, waveforms, strict=True):
        inputs = processor(audio=waveform, text=[prompt], sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            found.append(model(**inputs).logits_per_audio[0, 0] / model.logit_scale_a.exp())
    return torch.stack(found)


def test_scores_up_to_the_window_are_transformers_own(folder):
    waveforms = [clip.samples[0].numpy() for clip in clips()]
    cosines = expected(folder, PROMPTS, waveforms)
    assert cosines.std() > 1e-3
    for size in (1, 3, 16):
        scores = ClapScore(str(folder), batch_size=size).score(PROMPTS, clips())
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, cosines, atol=1e-5, rtol=0)
    assert ClapScore(str(folder)).score([], []).shape == (0,)


def test_longer_sounds_have_the_mean_of_their_windows_by_length(folder):
    long = sounds.joined(sounds.tone(300, 1.0, RATE), sounds.noise(1.0, RATE), sounds.chirp(seconds=0.25, rate=RATE))
    parts = [part.numpy() for part in torch.split(long.samples[0], RATE)]
    cosines = expected(folder, ["a dog"] * 3, parts)
    assert (cosines[0] - cosines[1]).abs() > 1e-3
    mean = (cosines * torch.tensor([1.0, 1.0, 0.25])).sum() / 2.25
    torch.testing.assert_close(ClapScore(str(folder)).score(["a dog"], [long])[0], mean, atol=1e-5, rtol=0)


def test_nothing_is_drawn_by_chance(folder):
    sound = [sounds.noise(2.3, RATE, seed=1), sounds.noise(1.01, RATE, seed=2), sounds.tone(300, 0.5, RATE)]
    np.random.seed(0)
    before = np.random.get_state()
    torch_before = torch.get_rng_state()
    first = ClapScore(str(folder)).score(PROMPTS[:3], sound)
    after = np.random.get_state()
    assert before[2] == after[2]
    assert (before[1] == after[1]).all()
    assert torch.equal(torch_before, torch.get_rng_state())
    np.random.seed(1)
    assert torch.equal(ClapScore(str(folder)).score(PROMPTS[:3], sound), first)


def test_a_score_does_not_depend_on_its_batch(folder):
    reward = ClapScore(str(folder))
    alone = [reward.score([prompt], [clip]) for prompt, clip in zip(PROMPTS, clips(), strict=True)]
    torch.testing.assert_close(reward.score(PROMPTS, clips()), torch.cat(alone), atol=1e-6, rtol=0)


def test_stereo_is_mixed_and_files_of_other_rates_are_resampled(plain):
    from scipy.signal import resample_poly

    reward = ClapScore(str(plain))
    left, right = sounds.tone(300, 0.5, RATE), sounds.noise(0.5, RATE)
    middle = Clip((left.samples + right.samples) / 2, RATE)
    both = reward.score(["a dog"] * 2, [sounds.stereo(left, right), middle])
    torch.testing.assert_close(both[0], both[1], atol=1e-6, rtol=0)
    slow = sounds.stereo(sounds.chirp(300, 2000, 0.5, 44100), sounds.tone(700, 0.5, 44100))
    waveform = resample_poly(slow.samples.double().mean(0).numpy(), 160, 147).astype(np.float32)
    file = Media("slow.flac", sounds.encoded(slow, "FLAC", "PCM_24"))
    scores = reward.score(["a dog"] * 2, [slow, file])
    torch.testing.assert_close(scores, expected(plain, ["a dog"], [waveform]).expand(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=0)


def test_sounds_that_cannot_be_heard_are_worst_and_silence_is_what_the_model_makes_of_it(folder):
    reward = ClapScore(str(folder))
    holed = torch.zeros(1, 100)
    holed[0, 3] = torch.nan
    broken = [Clip(torch.zeros(1, 0), RATE), Clip(holed, RATE), Clip(torch.full((2, 9), -torch.inf), RATE)]
    assert reward.score(["noise"] * 3, broken).tolist() == [-1, -1, -1]
    quiet = [sounds.silence(0.5, RATE), Clip(torch.ones(1, 1), RATE)]
    cosines = expected(folder, ["noise"] * 2, [clip.samples[0].numpy() for clip in quiet])
    torch.testing.assert_close(reward.score(["noise"] * 2, quiet), cosines, atol=1e-5, rtol=0)


def test_prompts_that_are_too_long_are_cut_and_counted(plain):
    reward = ClapScore(str(plain))
    fits, sound = "a" * (LONGEST - 2), clips()[:1]
    reward.score([fits], sound)
    assert reward.cut == 0
    with pytest.warns(UserWarning, match=r"1 of 2 prompts are longer than the 12 tokens"):
        scores = reward.score([fits, fits + "bcd"], sound * 2)
    assert reward.cut == 1
    torch.testing.assert_close(scores[1], scores[0])


def test_half_precision_is_near_and_copies_score_the_same(plain):
    reward = ClapScore(str(plain))
    scores = reward.score(PROMPTS, clips())
    assert torch.equal(pickle.loads(pickle.dumps(reward)).score(PROMPTS, clips()), scores)
    torch.testing.assert_close(
        ClapScore(str(plain), dtype="bfloat16").score(PROMPTS, clips()), scores, atol=0.1, rtol=0
    )


def test_the_feature_extractors_own_settings_count(tmp_path):
    other = clap(tmp_path, "rand_trunc", seconds=2, sampling_rate=16000, padding="pad")
    reward = ClapScore(str(other))
    sound = sounds.tone(300, 1.5, 16000)
    from transformers import ClapModel, ClapProcessor

    model, processor = ClapModel.from_pretrained(other).eval(), ClapProcessor.from_pretrained(other)
    inputs = processor(audio=sound.samples[0].numpy(), text=["noise"], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        cosine = model(**inputs).logits_per_audio[0, 0] / model.logit_scale_a.exp()
    torch.testing.assert_close(reward.score(["noise"], [sound])[0], cosine, atol=1e-5, rtol=0)


def test_models_that_cannot_be_had_and_mistakes_are_told(plain, tmp_path):
    from transformers import BertConfig

    BertConfig(hidden_size=8).save_pretrained(tmp_path / "bert")
    (tmp_path / "empty").mkdir()
    for model, problem in (
        (tmp_path / "none", "no folder"),
        (tmp_path / "empty", "config.json"),
        (tmp_path / "bert", "model of type 'bert'"),
        ("someone/clap", "not in the local cache"),
    ):
        with pytest.raises(UserError, match=problem):
            ClapScore(str(model)).score(["noise"], clips()[:1])
        if problem != "model of type 'bert'":  # told before anything is sampled
            with pytest.raises(UserError, match=problem):
                ClapScore(str(model)).check(AUDIO)
    with pytest.raises(UserError, match="no such device"):
        ClapScore(str(plain), device="abacus").check(AUDIO)
    ClapScore(str(plain)).check(AUDIO)
    with pytest.raises(UserError, match="prompt of type list"):
        ClapScore(str(plain)).score([["noise"]], clips()[:1])
    for options in ({"dtype": "float8"}, {"batch_size": 0}):
        with pytest.raises(ConfigError):
            ClapScore("some/model", **options)
