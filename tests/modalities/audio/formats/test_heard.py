"""Rows of answers to prompts with sounds, in every way that they are written."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from modalign.core.batch import CHOSEN, REJECTED, Candidate
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.media import Media, MediaSlice
from modalign.core.objectives.base import Feedback
from modalign.modalities.audio.formats.heard_demonstration import HeardDemonstration
from modalign.modalities.audio.formats.heard_preference import HeardPreference
from modalign.modalities.audio.formats.heard_unpaired import HeardUnpaired
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.text.modality import Text
from modalign.modalities.vision_language.prompts import AUDIO, answer, media_of, question
from modalign.plugins.formats.auto import AutoFormat
from modalign.plugins.formats.trl_preference import TrlPreference

HEARS = AudioLanguage("model")
PAIR = {"prompt": "What is it?", "chosen": "A dog", "rejected": "A cat"}


def parsed(row: dict[str, Any], **options: Any) -> Any:
    (comparison,) = HeardPreference(**options).parse(row)
    return comparison


def test_a_pair_about_one_sound() -> None:
    found = parsed({**PAIR, "audio": "a.wav", "chosen_score": 2, "rejected_score": 1})
    assert found.prompt == question("What is it?", [Media("a.wav")], AUDIO)
    assert found.candidates == (Candidate(answer("A dog"), CHOSEN, 2.0), Candidate(answer("A cat"), REJECTED, 1.0))


@pytest.mark.parametrize("column", ["audio", "audios", "audio_path", "sound"])
def test_columns_of_sounds(column: str) -> None:
    assert media_of(parsed({**PAIR, column: ["a.wav", "b.wav"]}).prompt, AUDIO) == [Media("a.wav"), Media("b.wav")]


def test_sounds_take_the_places_that_a_prompt_has_for_them() -> None:
    (message,) = parsed({**PAIR, "prompt": "<audio>\nor <audio>?", "audios": ["a.wav", "b.wav"]}).prompt
    shown = [part.get("text") or part["audio"].path for part in message["content"]]
    assert shown == ["a.wav", "or ", "b.wav", "?"]
    typed = [{"role": "user", "content": [{"type": "text", "text": "Hear:"}, {"type": "audio"}]}]
    turns = {side: [*typed, {"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    (message,) = parsed({**turns, "audios": ["a.wav"]}).prompt
    assert message["content"][1] == {"type": "audio", "audio": Media("a.wav")}
    with pytest.raises(
        RowError, match="sounds do not fit their places: the prompt has places for 2, and the row has 1"
    ):
        parsed({**PAIR, "prompt": "<audio> or <audio>?", "audios": ["a.wav"]})


@pytest.mark.parametrize(
    "part",
    [
        {"audio": {"path": "a.wav", "start": 1.0, "seconds": 2.0}},
        {"path": "a.wav", "start": 1, "end": 3},
        {"audio_url": {"url": "a.wav"}},
        {"type": "audio_url", "audio_url": "a.wav"},
    ],
)
def test_parts_may_hold_their_sounds(part: dict[str, Any]) -> None:
    content = [{"type": "audio", **part}, {"type": "text", "text": "What?"}]
    row = {**PAIR, "prompt": [{"role": "user", "content": content}]}
    row |= {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
    (found,) = media_of(parsed({**row, "audios": []}).prompt, AUDIO)
    assert found == (MediaSlice("a.wav", None, 1.0, 2.0) if "start" in str(part) else Media("a.wav"))


def test_other_sounds_and_their_answer() -> None:
    found = parsed({**PAIR, "audio": "a.wav", "other_audio": "b.wav", "other_response": "A bird"})
    assert found.extra == {"other_audios": (Media("b.wav"),), "other_response": answer("A bird")}
    with pytest.raises(RowError, match="2 other sounds for a prompt with 1"):
        parsed({**PAIR, "audio": "a.wav", "other_audios": ["b.wav", "c.wav"]})


def test_a_pair_of_sounds() -> None:
    found = parsed({"prompt": "What is it?", "chosen": "A dog", "audio": "a.wav", "rejected_audio": "b.wav"})
    assert found.candidates[1].response == answer("A dog")
    assert media_of(found.candidates[1].context, AUDIO) == [Media("b.wav")]


def test_columns_and_folders_by_option(tmp_path: Path) -> None:
    row = {"asked": "What?", "better": "A dog", "worse": "A cat", "wav": "a.wav"}
    found = parsed(row, prompt="asked", chosen="better", rejected="worse", audios="wav", root=str(tmp_path))
    assert media_of(found.prompt, AUDIO) == [Media(str(tmp_path / "a.wav"))]


def test_demonstrations_and_labels() -> None:
    row = {"prompt": "What is it?", "completion": "A dog", "audio": "a.wav"}
    (shown,) = HeardDemonstration().parse(row)
    assert shown.roles == (CHOSEN,)
    messages = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A dog"}]
    assert HeardDemonstration().parse({"messages": messages, "audio": "a.wav"})[0] == shown
    (liked,) = HeardUnpaired().parse({**row, "label": True})
    assert liked.candidates == (Candidate(answer("A dog"), score=1.0),)
    assert HeardDemonstration().feedback(row) == {Feedback.DEMONSTRATION}
    assert HeardUnpaired().feedback(row) == {Feedback.POINTWISE}


AUTO: list[tuple[dict[str, Any], str]] = [
    ({**PAIR, "audio": "a.wav"}, "heard_preference"),
    ({**PAIR, "audios": [{"bytes": b"RIFF", "path": None}]}, "heard_preference"),
    ({**PAIR, "audio": None}, "heard_preference"),
    ({"prompt": "What?", "completion": "A dog", "audio": "a.wav"}, "heard_demonstration"),
    ({"prompt": "What?", "completion": "A dog", "audio": "a.wav", "label": True}, "heard_unpaired"),
    (PAIR, "trl_preference"),
    ({"prompt": "What?", "completion": "A dog"}, "demonstration"),
]


@pytest.mark.parametrize(("row", "name"), AUTO)
def test_rows_are_known_by_their_columns(row: dict[str, Any], name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert AutoFormat().resolve(row, "file", HEARS).name == name


def test_rows_whose_sounds_would_not_be_heard_are_refused() -> None:
    for row in ({**PAIR, "clip": "a.wav"}, {**PAIR, "audio": "a.wav"}):
        with pytest.raises(
            ConfigError, match=r"file holds sounds \((clip|audio)\).* reads none(?s:.*)heard_preference"
        ):
            TrlPreference().resolve(row, "file", HEARS)
        with pytest.warns(UserWarning, match=r"holds sounds"):
            TrlPreference().resolve(row, "file", Text("model"))
    with pytest.raises(UserError, match="fits no format"):
        AutoFormat().resolve({"question": "What?", "audio": "a.wav"}, "file", HEARS)


def test_rows_of_prompts_are_read_with_their_sounds() -> None:
    asked = HEARS.prompt_of(json.loads('{"prompt": "What?", "audios": ["a.wav", "b.wav"]}'), "prompt")
    assert asked == question("What?", [Media("a.wav"), Media("b.wav")], AUDIO)
    assert HEARS.prompt_of({"prompt": "What?"}, "prompt") == "What?"
    assert HEARS.preview(asked, "A dog") == "user: <audio a.wav><audio b.wav>What?\nassistant: A dog"
