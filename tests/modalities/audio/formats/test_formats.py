import pytest

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.media import Media, MediaSlice
from modalign.core.objectives.base import Feedback
from modalign.core.parsing import parse_row
from modalign.core.sources import TextRow
from modalign.modalities.audio.formats.audio_captions import AudioCaptions
from modalign.modalities.audio.formats.audio_pairs import AudioPairs
from modalign.modalities.audio.formats.audio_ranked import AudioRanked
from modalign.modalities.audio.formats.audio_thumbs import AudioThumbs
from modalign.plugins.formats.auto import AutoFormat
from modalign.plugins.manager import registry
from tests.modalities.audio.formats.hearing import Hearing, HearingTokens

PAIR = {"prompt": "a dog then rain", "chosen": "a.wav", "rejected": "b.wav"}
RANKED = {"prompt": "rain", "audios": ["a.wav", "b.wav", "c.wav"], "scores": [0.2, 0.9, 0.5]}
THUMB = {"prompt": "rain", "audio": "a.wav", "label": True}
CAPTION = {"caption": "rain", "file_name": "a.wav"}


@pytest.mark.parametrize(
    "names",
    [
        ("prompt", "chosen", "rejected"),
        ("caption", "chosen_audio", "rejected_audio"),
        ("text", "audio_chosen", "audio_rejected"),
        ("prompt", "chosen_file_name", "rejected_file_name"),
        ("txt", "winner", "loser"),
    ],
)
def test_pairs_under_their_common_names(names):
    row = dict(zip(names, ("rain", "a.wav", b"RIFF"), strict=True))
    assert AudioPairs().matches(row)
    assert AudioPairs().feedback(row) == {Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION}
    (comparison,) = AudioPairs().parse(row)
    assert (comparison.prompt, comparison.weight) == ("rain", 1.0)
    assert comparison.candidate(CHOSEN).response == Media("a.wav")
    assert comparison.candidate(REJECTED).response == Media(data=b"RIFF")
    assert [candidate.score for candidate in comparison.candidates] == [None, None]


def test_pairs_under_other_names():
    format = AudioPairs(prompt="q", chosen="good", rejected="bad", weight="w", root="/sounds")
    row = {"q": "rain", "good": {"path": "a.wav", "start": 2, "end": 3}, "bad": "/b.wav", "w": 0.5, "prompt": 3}
    assert format.matches(row)
    assert format.resolve(row, "a.jsonl") is format
    (comparison,) = format.parse(row)
    assert [each.response for each in comparison.candidates] == [
        MediaSlice("/sounds/a.wav", None, 2.0, 1.0),
        Media("/b.wav"),
    ]
    assert (comparison.prompt, comparison.weight) == ("rain", 0.5)
    with pytest.raises(UserError, match="no column 'q'"):
        format.resolve(PAIR, "a.jsonl")


def test_paths_of_slices_start_from_the_folder_of_the_data_file(tmp_path):
    row = {**PAIR, "chosen": {"path": "a.wav", "start": 1.0}}
    (comparison,) = parse_row(row, AudioPairs(), (str(tmp_path / "pairs.jsonl"), 7))
    assert comparison.candidate(CHOSEN).response == MediaSlice(str(tmp_path / "a.wav"), None, 1.0, None)


@pytest.mark.parametrize(
    "names", [("chosen_score", "rejected_score"), ("score_chosen", "score_rejected"), ("score_w", "score_l")]
)
def test_scores_of_pairs(names):
    row = {**PAIR, names[0]: 0.5, names[1]: 0.25}
    (comparison,) = AudioPairs().parse(row)
    assert [candidate.score for candidate in comparison.candidates] == [0.5, 0.25]
    (untyped,) = AudioPairs().parse(TextRow(**PAIR, **{names[0]: "0.5", names[1]: "0.25"}))
    assert [candidate.score for candidate in untyped.candidates] == [0.5, 0.25]
    (without,) = AudioPairs().parse({**row, names[0]: None, names[1]: None})
    assert [candidate.score for candidate in without.candidates] == [None, None]
    for change, problem in ((None, "without a"), ("high", "not a number"), (float("nan"), "not a finite number")):
        with pytest.raises(RowError, match=problem):
            AudioPairs().parse({**row, names[1]: change})


def test_pairs_are_chosen_by_how_the_rejected_sound_was_made():
    format = AudioPairs(strategies=["temporal", "inference"])
    row = {**PAIR, "strategy": "temporal"}
    assert format.resolve(row, "a.jsonl") is format
    assert len(format.parse(row)) == 1
    assert format.left_out(row) == {}
    other = {**PAIR, "strategy": "perturbed"}
    assert format.parse(other) == []
    assert format.left_out(other) == {"strategy not among strategies": 1}
    with pytest.raises(RowError, match="no value"):
        format.parse({**PAIR, "strategy": None})
    with pytest.raises(UserError, match=r"a\.jsonl has no column 'strategy'"):
        format.resolve(PAIR, "a.jsonl")
    with pytest.raises(ConfigError):
        AudioPairs(strategies=[])


@pytest.mark.parametrize(
    ("change", "problem", "column"),
    [
        ({"prompt": None}, "no value", "prompt"),
        ({"prompt": ["rain"]}, "not text", "prompt"),
        ({"chosen": None}, "no value", "chosen"),
        ({"chosen": 3}, "not a sound", "chosen"),
        ({"rejected": "http://x/b.wav"}, "a URL", "rejected"),
        ({"rejected": "./a.wav"}, "identical sounds", "rejected"),
        ({"chosen": b"x", "rejected": b"x"}, "identical sounds", "rejected"),
        ({"w": True}, "not a number", "w"),
        ({"w": 0}, "not a weight", "w"),
    ],
)
def test_bad_pairs_are_refused(change, problem, column):
    with pytest.raises(RowError, match=problem) as caught:
        AudioPairs(weight="w").parse({"w": 1.0, **PAIR, **change})
    assert caught.value.column == column
    assert caught.value.cure


@pytest.mark.parametrize(
    "audio", ["audio", "sound", "audio_path", "file_name", "wav", "flac", "mp3", "ogg", "aif", "m4a"]
)
def test_single_sounds_under_their_common_names(audio):
    (demonstration,) = AudioCaptions().parse({"caption": "rain", audio: "a.wav"})
    assert AudioCaptions().matches({"caption": "rain", audio: "a.wav"})
    assert (demonstration.roles, demonstration.candidates[0].response) == (("chosen",), Media("a.wav"))
    judged = {"caption": "rain", audio: "a.wav", "label": 0}
    assert AudioThumbs().matches(judged)
    (thumb,) = AudioThumbs().parse(judged)
    assert (thumb.candidates[0].response, thumb.candidates[0].score) == (Media("a.wav"), 0.0)


def test_single_sounds_under_other_names():
    row = TextRow(words="rain", clip="a.wav", w="2.5", good="true")
    (caption,) = AudioCaptions(prompt="words", audio="clip", weight="w", root="/r").parse(row)
    assert (caption.prompt, caption.candidates[0].response.path, caption.weight) == ("rain", "/r/a.wav", 2.5)
    (thumb,) = AudioThumbs(prompt="words", audio="clip", label="good").parse(row)
    assert thumb.candidates[0].score == 1.0
    assert AudioCaptions().feedback(row) == {Feedback.DEMONSTRATION}
    assert AudioThumbs().feedback(row) == {Feedback.POINTWISE}
    with pytest.raises(RowError, match="not a label"):
        AudioThumbs().parse({**THUMB, "label": "false"})


def test_rankings():
    (listed,) = AudioRanked("none").parse(RANKED)
    assert AudioRanked("none").feedback(RANKED) == {Feedback.LISTWISE}
    assert [(each.response.path, each.score) for each in listed.candidates] == [
        ("a.wav", 0.2),
        ("b.wav", 0.9),
        ("c.wav", 0.5),
    ]
    (pair,) = AudioRanked().parse(RANKED)
    assert [(each.role, each.response.path) for each in pair.candidates] == [(CHOSEN, "b.wav"), (REJECTED, "a.wav")]
    assert len(AudioRanked("all").parse(RANKED)) == 3
    assert AudioRanked("all", min_gap=0.35).left_out(RANKED) == {"scores closer than min_gap": 1}
    judged = {"q": "rain", "takes": RANKED["audios"], "clap": [1, 3, 2], "clean": [7.0, 8.0, 9.0]}
    shares = AudioRanked("none", rewards=["clap", "clean"], prompt="q", audios="takes")
    assert [each.score for each in shares.parse(judged)[0].candidates] == [0.0, 0.75, 0.75]
    ranks = AudioRanked("none").parse({"caption": "rain", "sounds": ["a.wav", "b.wav"], "ranks": [2, 1]})
    assert [each.score for each in ranks[0].candidates] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("change", "problem", "column"),
    [
        ({"audios": ["a.wav"]}, "only one sound", "audios"),
        ({"audios": "a.wav"}, "not a list", "audios"),
        ({"audios": ["a.wav", 3, "c.wav"]}, "not a sound", "audios[1]"),
        ({"audios": ["a.wav"] * 3}, "identical sounds", "audios"),
        ({"scores": [1, 2]}, "lists of different lengths: 3 sounds and 2 scores", "scores"),
        ({"scores": [1, None, 3]}, "not a number", "scores[1]"),
    ],
)
def test_bad_rankings_are_refused(change, problem, column):
    with pytest.raises(RowError, match=problem) as caught:
        AudioRanked("none").parse({**RANKED, **change})
    assert caught.value.column == column


@pytest.mark.parametrize("format", [AudioPairs, AudioRanked, AudioThumbs, AudioCaptions])
def test_they_are_registered_under_their_names(format):
    assert registry().load("format", format.name) is format


@pytest.mark.parametrize("modality", [Hearing(), HearingTokens()], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (PAIR, AudioPairs),
        ({**PAIR, "strategy": "temporal", "score_w": 0.5, "score_l": 0.4}, AudioPairs),
        ({"caption": "rain", "chosen": {"bytes": b"x", "path": None}, "rejected": {"bytes": b"y"}}, AudioPairs),
        (RANKED, AudioRanked),
        (THUMB, AudioThumbs),
        (CAPTION, AudioCaptions),
        ({"txt": "rain", "wav": b"x"}, AudioCaptions),
        ({"text": "rain", "audio": {"array": [0.0], "sampling_rate": 8000}}, AudioCaptions),
    ],
)
@pytest.mark.filterwarnings("ignore:data.format auto")
def test_auto_finds_them(row, expected, modality):
    assert type(AutoFormat().resolve(row, "file", modality)) is expected


def test_formats_of_pictures_are_refused_for_sounds():
    from modalign.modalities.image.formats.image_pairs import ImagePairs

    with pytest.raises(ConfigError, match="reads responses of image"):
        ImagePairs().resolve(PAIR, "file", Hearing())
