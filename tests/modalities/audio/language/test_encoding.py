"""From prompts with sounds to what the processor makes of them, and to refusals."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.media import Media, MediaSlice
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.audio.language.model_checks import check_audio_tokens
from modalign.modalities.audio.reading.resampling import resampled, with_channels
from modalign.modalities.text.modality import Text
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.prompts import AUDIO, question
from tests import sounds
from tests.tiny_audio.language import LONGEST, RATE

from .rows import clip, comparison

ModalityOf = Callable[..., AudioLanguage]


def cell(modality: AudioLanguage, *heard: Any, text: str = "What is it?") -> Any:
    return modality.encode(comparison(heard, text)).cells[0]


def test_a_sound_reaches_the_processor_in_mono_at_its_own_rate(modality_of: ModalityOf, family: str) -> None:
    modality = modality_of(family)
    wide = sounds.stereo(sounds.tone(440.0, 0.5, 22050), sounds.noise(0.5, 22050))
    plain = resampled(with_channels(wide, 1), RATE)
    found, same = cell(modality, sounds.media(wide)), cell(modality, plain)
    assert found.media.keys() == same.media.keys()
    assert all(torch.equal(found.media[name], same.media[name]) for name in same.media)
    asked = str(
        modality.processor.apply_chat_template(question("What is it?", [plain], AUDIO), add_generation_prompt=True)
    )
    direct = modality.processor(
        text=[asked],
        audio=[plain.samples[0].numpy()],
        sampling_rate=RATE,
        add_special_tokens="<bos>" not in asked,
        return_tensors="pt",
    )
    assert found.prompt.tolist() == direct["input_ids"][0].tolist()
    assert torch.equal(found.media["input_features"], direct["input_features"])


def test_a_part_of_a_file_is_that_part(modality_of: ModalityOf, tmp_path: Path) -> None:
    whole = sounds.joined(clip(0), clip(7))
    path = str(sounds.save(whole, tmp_path / "long.wav", "FLOAT"))
    start = clip(0).samples.shape[1] / RATE
    found = cell(modality_of(), MediaSlice(path, None, start, clip(7).seconds))
    assert torch.equal(found.media["input_features"], cell(modality_of(), clip(7)).media["input_features"])


def test_equal_sounds_have_one_key(modality_of: ModalityOf, tmp_path: Path) -> None:
    modality = modality_of()
    one, again = (Media(str(sounds.save(clip(0), tmp_path / name))) for name in ("a.wav", "b.wav"))
    keys = [cell(modality, sound).media_key for sound in (one, again, clip(1))]
    assert keys[0] == keys[1] != keys[2]
    assert cell(modality, one, again, text="Compare.").media_key not in keys
    assert cell(modality).media_key == ""


@pytest.mark.parametrize("over", [1, 4000])
def test_a_sound_that_is_longer_than_the_model_hears_is_refused(
    modality_of: ModalityOf, family: str, over: int, tmp_path: Path
) -> None:
    long = sounds.save(sounds.noise(LONGEST[family] + over / RATE, RATE), tmp_path / "long.wav", "FLOAT")
    with pytest.raises(
        RowError, match=rf"a sound is too long: .* seconds, and the model hears {LONGEST[family]} \(.*long\.wav"
    ) as told:
        modality_of(family).encode(comparison([Media(str(long))]))
    assert "modality.long_sounds: cut" in str(told.value)


def test_or_cut_where_that_is_asked_for(modality_of: ModalityOf, family: str, tmp_path: Path) -> None:
    seconds = LONGEST[family]
    long = sounds.noise(seconds + 0.7, 2 * RATE)
    path = sounds.save(long, tmp_path / "long.wav", "FLOAT")
    modality = modality_of(family, long_sounds="cut")
    example = modality.encode(comparison([Media(str(path))]))
    start = modality.encode(comparison([MediaSlice(str(path), None, 0.0, float(seconds))]))
    assert example.truncated
    assert not start.truncated
    torch.testing.assert_close(example.cells[0].media["input_features"], start.cells[0].media["input_features"])
    assert not modality.encode(comparison([clip(0)])).truncated


def test_a_sound_that_fits_to_the_sample_is_whole(modality_of: ModalityOf, family: str) -> None:
    modality = modality_of(family)
    assert not modality.encode(comparison([sounds.noise(LONGEST[family], RATE)])).truncated


def test_a_sound_of_which_the_processor_leaves_nothing_is_refused(modality_of: ModalityOf, family: str) -> None:
    heard = [sounds.noise(0.01, RATE)]
    with pytest.raises(RowError, match="a sound is too short: the model's processor leaves nothing of it"):
        modality_of(family).encode(comparison(heard))
    if family == "qwen2_audio":
        with pytest.raises(RowError, match="too short"):
            modality_of(family).encode(comparison([clip(0), *heard]))


REFUSED: dict[str, tuple[Any, str]] = {
    "text that stands for a sound": (question("What is <|AUDIO|>?", [clip(0)], AUDIO), "stands for a sound"),
    "an image": ([{"role": "user", "content": [{"type": "image", "image": "a.png"}]}], "type 'image'"),
    "a part without its sound": ([{"role": "user", "content": [{"type": "audio"}]}], "type 'audio' without audio"),
    "no file": (question("What?", [Media("gone.wav")], AUDIO), "gone.wav"),
    "no sound": (question("What?", [Media("a.wav", b"text, and no sound at all")], AUDIO), "a.wav"),
    "no samples": (question("What?", [sounds.media(sounds.silence(0))], AUDIO), "empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(modality_of: ModalityOf, name: str) -> None:
    prompt, message = REFUSED[name]
    row = comparison([clip(0)])
    with pytest.raises(RowError, match=message.replace("|", r"\|")):
        modality_of().encode(type(row)(prompt, row.candidates))


def test_a_prompt_that_does_not_fit_is_refused_with_its_sounds_counted(modality_of: ModalityOf) -> None:
    with pytest.raises(RowError, match=r"too long: it has \d+ tokens, 6 of them for 1 sounds, and \d+ fit") as told:
        modality_of(max_prompt_length=20).encode(comparison([clip(0)]))
    assert "too_long" not in str(told.value)


def test_options_that_models_of_other_media_have_too_are_alike() -> None:
    """They are written out in each constructor, so that each can be read alone."""
    text, seeing, hearing = (signature(kind.__init__).parameters for kind in (Text, VisionLanguage, AudioLanguage))
    shared = seeing.keys() & hearing.keys()
    assert {name: seeing[name] for name in shared} == {name: hearing[name] for name in shared}
    other = {"max_length"}  # media are long
    assert all(text[name] == hearing[name] for name in (text.keys() & hearing.keys()) - other)
    assert len(shared) > 15


def test_options_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"modality.long_sounds is 'crop'"):
        AudioLanguage("x", long_sounds="crop")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"other_audio is 'silent', which is no audio variant"):
        AudioLanguage("x", other_audio="silent")  # type: ignore[arg-type]


def test_a_processor_that_draws_is_refused(modality_of: ModalityOf) -> None:
    modality = modality_of()
    modality.processor.feature_extractor.dither = 1e-5
    with pytest.raises(ConfigError, match="adds random noise to sounds"):
        modality.encode(comparison([clip(0)]))


def test_models_of_other_kinds_are_refused_by_name(tiny_model: Path, vlm_folder: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=r"is a llama model, which AutoModelForMultimodalLM or .* does not load"):
        AudioLanguage(str(tiny_model)).load()
    with pytest.raises(UserError, match=r"LlavaProcessor without feature_extractor(?s:.*)Name an audio-language model"):
        AudioLanguage(str(vlm_folder("llava")), max_length=256).load()


def test_a_processor_that_leaves_other_places_than_the_tower_fills_is_refused(
    modality_of: ModalityOf, loaded: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    modality, other = modality_of(), modality_of("glmasr")
    check_audio_tokens(loaded("qwen2_audio"), modality._tokens, modality.medium)
    kind = type(modality.processor)
    monkeypatch.setattr(kind, "replace_audio_token", lambda self, *_, **__: self.audio_token * 3)
    with pytest.raises(
        ConfigError, match=r"gives \d+ features for a sound of 0.31 seconds, and the processor leaves 3"
    ):
        check_audio_tokens(loaded("qwen2_audio"), modality._tokens, modality.medium)
    with pytest.raises(ConfigError, match="cannot take the sounds of its GlmAsrProcessor"):
        check_audio_tokens(loaded("qwen2_audio"), other._tokens, other.medium)
