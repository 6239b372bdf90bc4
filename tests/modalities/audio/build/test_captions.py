"""Captions as events, and what is made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.modalities.audio.build.captions import Caption


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("A dog barks, followed by rain and wind.", ("a dog barks", "rain", "wind")),
        ("a low tone then noise", ("a low tone", "noise")),
        ("Birds sing while a man speaks with music", ("birds sing", "a man speaks", "music")),
        ("FM radio, TV; then static", ("FM radio", "TV", "static")),
        ("Thunder", ("thunder",)),
        ("What is that? Thunder?", ("what is that? Thunder",)),
        ("First a dog barks, then rain", ("a dog barks", "rain")),
        ("at first rain", ("rain",)),
        ("First", ("first",)),
        ("RAIN AND THEN A DOG", ("RAIN", "A DOG")),
        ("Rain ,  and wind , then", ("rain", "wind", "then")),
        ("An android walks", ("an android walks",)),
        ("", ("",)),
    ],
)
def test_events(text: str, events: tuple[str, ...]) -> None:
    assert Caption.of(text).events == events
    assert str(Caption.of(text)) == text


@given(st.text(max_size=60))
def test_any_text_comes_back(text: str) -> None:
    assert str(Caption.of(text)).casefold() == text.strip().casefold()


@pytest.mark.parametrize(
    ("text", "turned"),
    [
        ("A dog barks before rain.", ["Rain before a dog barks."]),
        ("a low tone then noise", ["noise then a low tone"]),
        ("After rain, a dog barks", ["Before rain, a dog barks"]),
        ("Before rain a dog barks", ["After rain a dog barks"]),
        ("A dog and a cat, then rain", ["Rain, then a dog and a cat"]),
        (
            "A man speaks then a car passes before birds sing",
            ["A car passes then a man speaks before birds sing", "A man speaks then birds sing before a car passes"],
        ),
        ("A dog and a cat", []),
        ("First a dog barks, then rain!", ["First rain, then a dog barks!"]),
    ],
)
def test_the_order_turned_round(text: str, turned: list[str]) -> None:
    caption = Caption.of(text)
    assert [str(caption.turned(number)) for number in range(caption.turns)] == turned


def test_an_event_left_out_or_replaced() -> None:
    caption = Caption.of("A dog barks, followed by rain and wind.")
    assert [str(caption.without(number)) for number in range(3)] == [
        "Rain and wind.",
        "A dog barks and wind.",
        "A dog barks, followed by rain.",
    ]
    assert str(caption.with_event(0, "a bell")) == "A bell, followed by rain and wind."
