"""Which words become blanks: those listed, or content words, all of a short response and a share of a long one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.errors import UserError
from modalign.modalities.vision_language.build.masking import BLANK, WORDS_ALL_BLANKED, Masking, read_words

LONG = " ".join(
    f"The {thing} is beside the {thing}s." for thing in ("cat", "dog", "bird", "cow", "horse", "sheep", "ox")
)


def test_content_words_of_a_short_response_are_blanked_and_neighbours_share_a_blank() -> None:
    assert Masking().masked("There are two red circles left of a blue square.") == f"There are {BLANK} of a {BLANK}."
    assert Masking().masked("A man's well-known hat, and it is here.") == f"A {BLANK}, and it is here."
    assert Masking().masked("It is, and it was.") is None


def test_punctuation_and_line_breaks_stay() -> None:
    assert Masking().masked("A cat,\na dog.") == f"A {BLANK},\na {BLANK}."
    assert Masking().masked("cat\ndog") == f"{BLANK}\n{BLANK}"


def test_words_of_a_list_are_blanked_wherever_they_stand_and_no_others() -> None:
    masking = Masking(frozenset({"red", "left of", "circle"}))
    assert masking.masked("Red circles are left of a red circle.") == f"{BLANK} circles are {BLANK} a {BLANK}."
    assert masking.masked("A blue square is infrared.") is None
    assert Masking(frozenset({"c++", "no."})).masked("It says c++ here") == f"It says {BLANK} here"


def test_a_share_of_a_long_response_is_blanked_always_the_same() -> None:
    words = 21
    assert words > WORDS_ALL_BLANKED
    for share in (0.25, 0.5, 1.0):
        masked = Masking(share=share).masked(LONG)
        assert masked is not None
        assert masked.count(BLANK) <= round(share * words)
        assert masked == Masking(share=share).masked(LONG)
    half = Masking(share=0.5).masked(LONG)
    assert half is not None
    assert 0.3 * words <= half.count(BLANK) <= 0.55 * words
    assert half != Masking(share=0.5, seed=1).masked(LONG)


@given(st.text(max_size=200).filter(lambda text: "_" not in text), st.integers(0, 3))
def test_what_is_not_blanked_is_left_as_it_was(text: str, seed: int) -> None:
    masked = Masking(seed=seed).masked(text)
    if masked is None:
        return
    place = 0
    for piece in masked.split(BLANK):
        found = text.find(piece, place)
        assert found >= place
        place = found + len(piece)
    assert BLANK in masked


def test_a_file_of_words(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Red\n\n left of \n")
    assert read_words(path) == {"red", "left of"}
    path.write_text("\n")
    with pytest.raises(UserError, match="holds no words"):
        read_words(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_words(tmp_path / "none.txt")
