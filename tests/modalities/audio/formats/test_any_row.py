"""Whatever a row holds, a format makes comparisons of sounds or refuses it with a `RowError`."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.sources import TextRow
from modalign.modalities.audio.formats.audio_captions import AudioCaptions
from modalign.modalities.audio.formats.audio_pairs import AudioPairs
from modalign.modalities.audio.formats.audio_ranked import AudioRanked
from modalign.modalities.audio.formats.audio_thumbs import AudioThumbs
from modalign.plugins.formats.media.kind import same_media

FORMATS = [
    AudioPairs(weight="weight"),
    AudioPairs(strategies=["temporal"], root="/sounds"),
    AudioCaptions(root="/sounds"),
    AudioThumbs(weight="weight"),
    AudioRanked("none"),
    AudioRanked("all", ties="error", min_gap=0.5),
]
SOUND = {
    "prompt": "rain",
    "chosen": {"path": "a.wav", "start": 1.0, "end": 2.0},
    "rejected": b"RIFF",
    "strategy": "temporal",
    "score_w": 0.5,
    "score_l": 0.25,
    "audio": {"array": [0.0, 0.5], "sampling_rate": 8000},
    "label": True,
    "audios": ["a.wav", {"path": "a.wav", "start": 1.0, "end": None}, b"c"],
    "scores": [3.0, 1.0, 2.0],
    "weight": 1.0,
}
PATHS = st.sampled_from(["a.wav", "", "https://x/a.wav", "data:audio/wav;base64,QQ==", "data:x", "\ud800", "0.5"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=2) | PATHS | st.just(10**400)
KEYS = st.sampled_from(["bytes", "path", "start", "seconds", "end", "array", "sampling_rate", "url"])
STORED = st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3) | st.just(8000), max_size=4)
VALUES = SCALARS | STORED | st.lists(SCALARS | STORED, max_size=4)
ROWS = st.builds(
    lambda dropped, changes: {name: value for name, value in SOUND.items() if name not in dropped} | changes,
    st.lists(st.sampled_from(sorted(SOUND)), max_size=4),
    st.dictionaries(st.sampled_from([*SOUND, "caption", "winner", "wav", "ranks", "sounds"]), VALUES, max_size=3),
)


def outcome(format, row):
    try:
        return None, format.parse(row), format.left_out(row)
    except RowError as error:
        return error, [], {}


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
@settings(max_examples=80)
@given(row=ROWS, untyped=st.booleans())
def test_a_row_is_parsed_or_refused(format, row, untyped):
    row = TextRow(row) if untyped else row
    format.matches(row)
    error, comparisons, left_out = outcome(format, row)
    assert error is None or (error.message and error.cure and error.reason)
    assert error is not None or comparisons or left_out
    for comparison in comparisons:
        assert isinstance(comparison.prompt, str)
        assert 0 < comparison.weight < math.inf
        for candidate in comparison.candidates:
            assert isinstance(candidate.response, Media)
            assert candidate.response.data or candidate.response.path
            assert candidate.score is None or math.isfinite(candidate.score)
        if comparison.roles == (CHOSEN, REJECTED):
            assert not same_media(*(candidate.response for candidate in comparison.candidates))


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_the_sound_row_is_parsed(format):
    assert len(format.parse(SOUND)) >= 1
