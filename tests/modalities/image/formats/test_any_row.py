"""Whatever a row holds, a format makes sound comparisons of images or refuses it with a `RowError`."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.sources import TextRow
from modalign.modalities.image.formats.hpd import Hpd
from modalign.modalities.image.formats.image_captions import ImageCaptions
from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.formats.image_ranked import ImageRanked
from modalign.modalities.image.formats.image_reward_db import ImageRewardDb
from modalign.modalities.image.formats.image_thumbs import ImageThumbs
from modalign.modalities.image.formats.pick_a_pic import PickAPic
from modalign.plugins.formats.media.kind import same_media

FORMATS = [
    ImagePairs(weight="weight"),
    ImageCaptions(root="/pictures"),
    ImageThumbs(weight="weight"),
    ImageRanked("none"),
    ImageRanked("all", ties="error", min_gap=0.5),
    ImageRanked("best_vs_rest", rewards=["scores", "human_preference"]),
    PickAPic(weight="weight"),
    PickAPic("keep"),
    PickAPic("error"),
    Hpd(pairs="none"),
    Hpd(pairs="all", min_confidence=0.5),
    ImageRewardDb(),
    ImageRewardDb(pairs="none", rating="scores"),
]
SOUND = {
    "prompt": "a cat",
    "caption": "a cat",
    "chosen": "a.png",
    "rejected": b"\x89PNG",
    "image": {"bytes": b"x", "path": None},
    "label": True,
    "images": ["a.png", "b.png", b"c"],
    "scores": [3.0, 1.0, 2.0],
    "rank": [1, 3, 2],
    "image_path": ["a.png", "b.png", "c.png"],
    "file_path": ["a.png", "b.png", "c.png"],
    "human_preference": [0, 1, 0],
    "jpg_0": b"x",
    "jpg_1": b"y",
    "label_0": 1.0,
    "label_1": 0.0,
    "has_label": True,
    "prompt_id": "7",
    "confidence": 0.9,
    "weight": 1.0,
}
OTHERS = ["path1", "path2", "img_better", "img_worse", "generations", "text", "winner", "ranks"]
PATHS = st.sampled_from(
    ["a.png", "b.png", "", "https://x/a.png", "data:image/png;base64,QQ==", "data:x", "\ud800", "0.5"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=2) | PATHS | st.just(10**400)
STORED = st.dictionaries(st.sampled_from(["bytes", "path", "url"]), SCALARS, max_size=2)
VALUES = SCALARS | STORED | st.lists(SCALARS | STORED, max_size=4) | st.lists(st.integers(0, 2), min_size=3, max_size=3)
ROWS = st.builds(
    lambda dropped, changes: {name: value for name, value in SOUND.items() if name not in dropped} | changes,
    st.lists(st.sampled_from(sorted(SOUND)), max_size=4),
    st.dictionaries(st.sampled_from([*SOUND, *OTHERS]), VALUES, max_size=3),
)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: f"{format.name}")
@settings(max_examples=60)
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


def outcome(format, row):
    try:
        return None, format.parse(row), format.left_out(row)
    except RowError as error:
        return error, [], {}


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: f"{format.name}")
def test_the_sound_row_is_parsed(format):
    comparisons = format.parse(SOUND)
    assert len(comparisons) >= 1
