"""Other sounds to judge a response under."""

import math
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything

from modalign.core.batch import Candidate, Comparison
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.modalities.audio.variants.altered import AlteredSound
from modalign.modalities.audio.variants.noised import Noised
from modalign.modalities.audio.variants.other_clip import OtherClip
from modalign.modalities.audio.variants.silent import Silent
from modalign.modalities.vision_language.prompts import AUDIO, question
from modalign.plugins.manager import registry
from tests import sounds


def row(*heard: Any, **extra: Any) -> Comparison:
    return Comparison(question("What?", heard, AUDIO), (Candidate("It is noise."),), extra=extra)


def test_all_are_registered() -> None:
    found = {name: registry().load("audio_variant", name) for name in registry().names("audio_variant")}
    assert found == {"other_clip": OtherClip, "noised": Noised, "silent": Silent}


def test_silence_is_as_long_as_the_sound() -> None:
    sound = sounds.media(sounds.stereo(sounds.tone(), sounds.noise()))
    (silent,) = Silent().sounds(row(sound), [sound], None)
    made = silent.open()
    assert made.samples.shape == (2, 8000)
    assert made.rate == sounds.RATE
    assert not made.samples.any()
    assert silent.open(0.25).samples.shape == (2, 4000)


@pytest.mark.parametrize("snr", [-6.0, 0.0, 20.0])
def test_noise_has_the_power_that_is_asked_for(snr: float) -> None:
    clip = sounds.tone(seconds=2.0, level=0.3)
    (noised,) = Noised(snr).sounds(row(clip), [clip], None)
    noise = (noised.open().samples - clip.samples).double()
    assert 10 * math.log10(clip.samples.double().square().mean() / noise.square().mean()) == pytest.approx(snr, abs=0.2)
    assert abs((noise * clip.samples).mean()) < 0.02 * noise.square().mean().sqrt()


def test_noise_is_a_function_of_seed_and_content() -> None:
    seed_everything(1, verbose=False)
    sound, copy, other = (sounds.media(clip) for clip in (sounds.tone(), sounds.tone(), sounds.tone(500.0)))
    first, again, another = (AlteredSound(each, Noised()) for each in (sound, copy, other))
    assert torch.equal(first.open().samples, again.open().samples)
    assert content_hash(first) == content_hash(again)
    assert content_hash(first) not in (content_hash(another), content_hash(AlteredSound(sound, Noised(3.0))))
    assert content_hash(first) != content_hash(AlteredSound(sound, Silent()))
    before, key = first.open().samples, content_hash(first)
    seed_everything(2, verbose=False)
    assert not torch.equal(first.open().samples, before)
    assert content_hash(first) != key
    assert not Noised().alter(sounds.silence(), "key").samples.any()


def test_the_data_brings_other_sounds_along() -> None:
    own, theirs = Media("a.wav"), Media("b.wav")
    assert OtherClip().sounds(row(own, other_audios=(theirs,)), [own], None) == (theirs,)
    assert not OtherClip().needs_other_row
    with pytest.raises(RowError, match=r"the row has no other sound(?s:.*)source: row"):
        OtherClip().sounds(row(own), [own], None)
    with pytest.raises(RowError, match="the row has 1 other sounds for 2"):
        OtherClip().sounds(row(own, own, other_audios=(theirs,)), [own, own], None)


def test_or_another_row_does() -> None:
    own, theirs = Media("a.wav"), Media("b.wav")
    variant = OtherClip("row")
    assert variant.needs_other_row
    assert variant.sounds(row(own, own), [own, own], row(theirs)) == [theirs, theirs]
    with pytest.raises(RowError, match="there is no other row with a sound"):
        variant.sounds(row(own), [own], row())


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="snr nan"):
        Noised(float("nan"))
    with pytest.raises(ConfigError, match="source 'file'"):
        OtherClip("file")  # type: ignore[arg-type]
