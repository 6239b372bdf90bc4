"""Rewards of sounds that need no model, on sounds whose measures are known."""

import json
import math

import pytest
import soundfile
import torch

from modalign.commands.generate_inputs import rewards
from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.event_order import EventOrder
from modalign.modalities.audio.rewards.events import Event
from modalign.modalities.audio.rewards.loudness import Loudness
from modalign.modalities.audio.rewards.noise import Snr
from modalign.modalities.audio.rewards.samples import Clipping, Duration, Silence
from modalign.modalities.audio.rewards.spectrum import SpectralCentroid, SpectralFlatness
from tests import sounds

RATE = 16000


def of(reward, *clips, prompt="a sound"):
    return reward.score([prompt] * len(clips), clips).tolist()


def silence(seconds=1.0, rate=RATE):
    return Clip(torch.zeros(1, round(seconds * rate)), rate)


def gained(clip, factor):
    return Clip(clip.samples * factor, clip.rate)


def test_loudness_of_a_full_scale_sine_at_997_hz_is_the_standards():
    # ITU-R BS.1770-4: a sine of 997 Hz at full scale in one channel measures -3.01 LKFS, by meters exact to 0.1.
    sine = sounds.tone(997, 2.0, 48000, level=1.0)
    quiet = gained(sine, 0.1)
    assert of(Loudness(target=None), sine, quiet) == pytest.approx([-3.01, -23.01], abs=0.1)
    assert of(Loudness(), sine, quiet, gained(sine, 0.01)) == pytest.approx([-19.99, -0.01, -20.01], abs=0.1)
    both = sounds.tone(997, 2.0, 48000, level=1.0, channels=2)
    assert of(Loudness(target=None), both) == pytest.approx([0.0], abs=0.1)


def test_loudness_of_short_slow_and_many_channelled_sounds_is_near_that_of_long_ones():
    long, short = sounds.tone(997, 2.0), sounds.tone(997, 0.1)
    slow, many = sounds.tone(997, 2.0, 4000), sounds.tone(997, 2.0, channels=7)
    expected = of(Loudness(target=None), long)[0]
    assert of(Loudness(target=None), short, slow, many) == pytest.approx([expected] * 3, abs=0.3)


def test_clipping_is_the_share_of_samples_at_full_scale():
    samples = torch.tensor([[0.0, 1.0, -1.0, 0.5], [0.999, 0.99, 2.0, 0.0]])
    assert of(Clipping(), Clip(samples, RATE)) == [-0.5]
    assert of(Clipping(threshold=0.5), Clip(samples, RATE)) == [-0.75]
    assert of(Clipping(), sounds.tone(level=0.9), silence()) == [0, 0]


def test_silence_is_the_share_of_silent_time():
    half = sounds.joined(sounds.tone(seconds=0.5), silence(0.5))
    nearly = gained(half, 10 ** (-61 / 20) * math.sqrt(2) / 0.5)
    above = gained(half, 10 ** (-59 / 20) * math.sqrt(2) / 0.5)
    assert of(Silence(), half, nearly, above, silence()) == pytest.approx([-0.5, -1, -0.5, -1], abs=0.02)
    assert of(Silence(threshold=-62), nearly) == pytest.approx([-0.5], abs=0.02)
    odd = Clip(torch.cat([torch.zeros(1, 10), torch.ones(1, 3)], 1), 500)
    assert of(Silence(), odd) == pytest.approx([-10 / 13])
    left = sounds.stereo(sounds.tone(seconds=0.5), silence(0.5))
    assert of(Silence(), left) == [0]


def test_duration_is_minus_the_error_to_the_option_or_to_the_prompt():
    clip = silence(1.5)
    assert of(Duration(2.0), clip) == [-0.5]
    for prompt, error in (
        ("rain for 4 seconds", 2.5),
        ("a 2.5 s chirp", 1.0),
        ("a 1-second loop", 0.5),
        ("1.5sec of hum, 3 s later a bang", 0.0),
    ):
        assert of(Duration(), clip, prompt=prompt) == [-error]
    with pytest.raises(RowError, match="asks for no length: '2 sheep'"):
        of(Duration(), clip, prompt="2 sheep")
    with pytest.raises(RowError, match="asks for no length: '2 sheep'"):
        Duration().check_prompts(["rain for 4 seconds", "2 sheep"])
    Duration(2.0).check_prompts(["2 sheep"])


def test_blind_snr_is_the_true_one_where_the_sound_pauses():
    noise = sounds.noise(2.0, level=0.01)
    for decibels in (0, 10, 30):
        amplitude = math.sqrt(2) * 0.01 * 10 ** (decibels / 20)
        tone = torch.cat([sounds.tone(seconds=1.5, level=amplitude).samples, torch.zeros(1, RATE // 2)], 1)
        truth = 10 * math.log10(float((tone**2).mean() / (noise.samples**2).mean()))
        assert of(Snr(), Clip(tone + noise.samples, RATE)) == pytest.approx([truth], abs=1.5 if decibels else 2.5)
    pausing = sounds.joined(sounds.tone(seconds=1.0), silence(0.5))
    clean, nothing, steady = of(Snr(), pausing, silence(), sounds.tone(100, 1.0))
    assert (clean, nothing) == (100, -100)
    assert steady < -30


def test_snr_to_a_reference_by_hand(tmp_path):
    reference, noise = sounds.tone(), sounds.noise(level=0.05, seed=1)
    soundfile.write(tmp_path / "tone.wav", reference.samples[0].numpy(), RATE, subtype="FLOAT")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a tone", "audio": "tone.wav"}) + "\n")
    found = Clip(0.5 * reference.samples + noise.samples, RATE)
    x, y = reference.samples[0].double(), found.samples[0].double()
    snr = 10 * torch.log10((x**2).sum() / ((x - y) ** 2).sum())
    projected = (x @ y) / (x @ x) * x
    si_sdr = 10 * torch.log10((projected**2).sum() / ((projected - y) ** 2).sum())
    references = tmp_path / "rows.jsonl"
    assert of(Snr(references), found, prompt="a tone") == pytest.approx([float(snr)], abs=1e-3)
    scaled = Snr(references, measure="si_sdr")
    assert of(scaled, found, gained(found, 3), prompt="a tone") == pytest.approx([float(si_sdr)] * 2, abs=1e-3)
    # What is missing is an error: half of the reference's power.
    half = Clip(reference.samples[:, : RATE // 4], RATE)
    assert of(Snr(references), half, prompt="a tone") == pytest.approx([10 * math.log10(2)], abs=0.05)
    for reward in (Snr(references), scaled):
        same, nothing = of(reward, reference, silence(0.5), prompt="a tone")
        assert same == 100
        assert -100 <= nothing <= 0
    with pytest.raises(RowError, match="no reference for a prompt: 'another'"):
        of(Snr(references), found, prompt="another")
    with pytest.raises(RowError, match="no reference for a prompt: 'another'"):
        Snr(references).check_prompts(["a tone", "another"])
    Snr().check_prompts(["another"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "a"}], "did you mean|known: prompt"),
        ([{"prompt": "a", "audio": "b.wav"}] * 2, "two references: 'a'"),
        ([{"prompt": "a", "audio": "b.wav"}], r"b\.wav"),
    ],
)
def test_references_that_cannot_be_used_are_told(tmp_path, rows, message):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RowError, match=message):
        of(Snr(tmp_path / "rows.jsonl"), silence(), prompt="a")


def test_centroid_of_a_tone_is_its_frequency_and_of_white_noise_the_middle():
    two = Clip(sounds.tone(500).samples + sounds.tone(1500).samples, RATE)
    clips = [sounds.tone(440), two, sounds.noise(2.0)]
    assert of(SpectralCentroid(), *clips) == pytest.approx([440, 1000, 4000], rel=0.02)
    assert of(SpectralCentroid(target=500), *clips) == pytest.approx([-60, -500, -3500], rel=0.05)
    assert of(SpectralCentroid(), *[gained(clip, 0.01) for clip in clips]) == pytest.approx([440, 1000, 4000], rel=0.02)


def test_flatness_is_one_for_noise_and_nothing_for_tones():
    tone, noise, short = of(SpectralFlatness(), sounds.tone(), sounds.noise(4.0), sounds.noise(0.064))
    assert tone < 1e-3
    assert noise > 0.95
    assert short == pytest.approx(math.exp(-0.5772), abs=0.06)
    assert of(SpectralFlatness(target=1), sounds.tone()) == pytest.approx([-1], abs=1e-3)


REWARDS = {
    "loudness": (Loudness(), -47),
    "raw loudness": (Loudness(target=None), -70),
    "quiet loudness": (Loudness(target=-60), -60),
    "clipping": (Clipping(), -1),
    "silence": (Silence(), -1),
    "duration": (Duration(2), -2),
    "snr": (Snr(), -100),
    "centroid": (SpectralCentroid(), 0),
    "centroid near": (SpectralCentroid(target=300), -300),
    "flatness": (SpectralFlatness(), 0),
    "event order": (EventOrder(), 0),
}


@pytest.mark.parametrize("name", REWARDS)
def test_sounds_that_cannot_be_heard_have_the_lowest_score(name):
    reward, lowest = REWARDS[name]
    broken = torch.zeros(1, 100)
    broken[0, 50] = torch.nan
    infinite = torch.full((1, 100), torch.inf)
    clips = [Clip(torch.zeros(1, 0), RATE), Clip(broken, RATE), Clip(infinite, RATE)]
    assert of(reward, *clips, prompt="noise") == pytest.approx([lowest] * 3)


@pytest.mark.parametrize("name", REWARDS)
def test_scores_are_finite_whatever_is_heard(name):
    reward, _ = REWARDS[name]
    clips = [
        Clip(samples, rate)
        for rate in (100, 8000, 44100)
        for samples in (
            torch.zeros(1, 1),
            torch.zeros(2, 5000),
            torch.ones(1, 1),
            torch.ones(1, 7000),
            torch.full((1, 300), 1e30),
            torch.full((1, 300), 1e-30),
            torch.tensor([[1.0, -1.0] * 2000]),
        )
    ]
    scores = reward.score(["noise"] * len(clips), clips)
    assert scores.dtype == torch.float32
    assert scores.shape == (len(clips),)
    assert bool(torch.isfinite(scores).all())
    assert torch.equal(reward.score(["noise"] * len(clips), clips), scores)


@pytest.mark.parametrize("name", REWARDS)
def test_files_score_as_the_clips_in_them(name, tmp_path):
    reward, _ = REWARDS[name]
    clip = sounds.sequence(["beeps", "noise"])
    soundfile.write(tmp_path / "sound.wav", clip.samples.numpy().T, clip.rate, subtype="FLOAT")
    file, scored = of(reward, Media(str(tmp_path / "sound.wav")), clip, prompt="beeps then noise")
    assert file == scored
    with pytest.raises(RowError, match=r"nothing\.wav"):
        of(reward, Media(str(tmp_path / "nothing.wav")), prompt="noise")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Loudness, {"target": 3.0}),
        (Loudness, {"target": -80.0}),
        (Clipping, {"threshold": 0.0}),
        (Silence, {"threshold": 0.0}),
        (Silence, {"frame": 0.0}),
        (Duration, {"seconds": -1.0}),
        (Snr, {"measure": "sdr"}),
        (Snr, {"measure": "si_sdr"}),
        (Snr, {"prompt_column": "caption"}),
        (SpectralCentroid, {"target": -1.0}),
        (SpectralFlatness, {"target": 2.0}),
    ],
)
def test_options_out_of_range_are_refused(kind, options):
    with pytest.raises(ConfigError):
        kind(**options)


def test_empty_batches_have_no_scores():
    assert Clipping().score([], []).shape == (0,)


def test_options_are_read_from_a_file(tmp_path):
    (tmp_path / "rewards.yaml").write_text(
        """
loud: {class_path: loudness, init_args: {target: null}}
order:
  class_path: event_order
  init_args:
    threshold: 0.3
    events:
      hum: {kind: tone, band: [80, 150]}
      hiss: {kind: noise, band: [2000, null]}
      knock: {longest: 0.1, times: 2}
level: {class_path: snr, init_args: {references: sounds.jsonl, measure: si_sdr}}
long: {class_path: duration}
"""
    )
    found, _ = rewards([str(tmp_path / "rewards.yaml"), "clipping", "spectral_flatness"])
    assert found["loud"].target is None
    assert found["order"].events == {
        "hum": Event("tone", (80.0, 150.0)),
        "hiss": Event("noise", (2000.0, None)),
        "knock": Event(longest=0.1, times=2),
    }
    assert str(found["level"].references) == "sounds.jsonl"
    assert list(found) == ["loud", "order", "level", "long", "clipping", "spectral_flatness"]
