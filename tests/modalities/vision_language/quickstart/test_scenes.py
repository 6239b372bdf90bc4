"""Scenes, their pictures and their descriptions."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.modalities.vision_language.quickstart.scenes import (
    COLOURS,
    COMPANIONS,
    PLACES,
    SHAPES,
    SIDE,
    Carelessness,
    Scene,
    Thing,
    describe,
    describe_carelessly,
    draw_scene,
    mentions,
    paint,
)

SEEDS = st.integers(0, 2**32)
CIRCLE, SQUARE = Thing("top left", "red", "circle"), Thing("bottom right", "blue", "square")


def test_a_description_states_the_number_and_each_object() -> None:
    assert describe((CIRCLE, SQUARE)) == "two objects: top left a red circle, bottom right a blue square."
    assert describe((SQUARE,)) == "one object: bottom right a blue square."


@given(SEEDS)
def test_what_is_described_is_read_again(seed: int) -> None:
    scene = draw_scene(random.Random(seed))
    assert tuple(mentions(describe(scene))) == scene
    assert 1 <= len(scene) < len(PLACES)
    assert [thing.place for thing in scene] == [p for p in PLACES if p in {thing.place for thing in scene}]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", []),
        ("top left a red", []),
        ("left a red circle", []),
        ("top left a red circle, top left a red circle", [CIRCLE, CIRCLE]),
        ("nonsense top left a red circle top", [CIRCLE]),
        ("top left a red circles", []),
        ("top left a pink circle, bottom right a blue square.", [SQUARE]),
    ],
)
def test_only_whole_objects_are_mentions(text: str, read: list[Thing]) -> None:
    assert mentions(text) == read


@given(SEEDS)
def test_careless_descriptions_invent_one_companion_or_omit_one_object(seed: int) -> None:
    chance = random.Random(seed)
    scene = draw_scene(chance)
    invented = set(mentions(describe_carelessly(scene, Carelessness(1.0, 0.0), chance))) - set(scene)
    (one,) = invented
    assert one.place not in {thing.place for thing in scene}
    assert (one.colour, one.shape) in {COMPANIONS[thing.shape] for thing in scene}
    left = mentions(describe_carelessly(scene, Carelessness(0.0, 1.0), chance))
    assert set(left) < set(scene) or len(scene) == 1
    assert len(left) == max(1, len(scene) - 1)


def test_carelessness_is_as_often_as_it_says() -> None:
    chance = random.Random(0)
    scene = (CIRCLE, SQUARE)
    said = [mentions(describe_carelessly(scene, Carelessness(0.6, 0.3), chance)) for _ in range(2000)]
    assert sum(len(set(each) - set(scene)) for each in said) / 2000 == pytest.approx(0.6, abs=0.04)
    assert sum(len(set(scene) - set(each)) for each in said) / 2000 == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_is_painted_in_its_place_and_colour(place: str, colour: str, shape: str) -> None:
    scene: Scene = (Thing(place, colour, shape),)
    pixels = np.asarray(paint(scene, random.Random(1)), dtype=float)
    assert pixels.shape == (SIDE, SIDE, 3)
    half = SIDE // 2
    top, left = half * (PLACES.index(place) // 2), half * (PLACES.index(place) % 2)
    cell = pixels[top : top + half, left : left + half]
    assert np.abs(cell[half // 2, half // 2] - COLOURS[colour]).max() <= 16
    pixels[top : top + half, left : left + half] = 255
    # Nothing but the bright background elsewhere, save for a blurred edge.
    assert pixels.min() > 180


def test_shapes_differ_in_what_they_cover() -> None:
    dark = {}
    for shape in SHAPES:
        pixels = np.asarray(paint((Thing("top left", "blue", shape),), random.Random(1)), dtype=float)
        dark[shape] = (pixels[:, :, 0] < 150).mean()
    assert dark["square"] > dark["circle"] > dark["triangle"] > 0.02
