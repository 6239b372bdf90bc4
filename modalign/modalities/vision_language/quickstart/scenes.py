"""Pictures of known scenes, descriptions of them as careless people write them, and what a description says."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIDE = 32
PROMPT = "Describe the picture."
PLACES = ("top left", "top right", "bottom left", "bottom right")
COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 230), "yellow": (235, 205, 40)}
SHAPES = ("circle", "square", "triangle")
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
COMPANIONS = {"circle": ("blue", "square"), "square": ("yellow", "triangle"), "triangle": ("red", "circle")}
"""What is often beside an object of a shape, and often said to be where it is not."""

_SMOOTHING = 4
_MENTION = re.compile(rf"({'|'.join(PLACES)}) a ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")


class Thing(NamedTuple):
    """An object.

    Attributes:
        place: One of `PLACES`.
        colour: One of `COLOURS`.
        shape: One of `SHAPES`.
    """

    place: str
    colour: str
    shape: str


Scene = tuple[Thing, ...]
"""One to three objects, each in a place of its own, in the order of `PLACES`."""


@dataclass(frozen=True)
class Carelessness:
    """How often a description is wrong.

    Attributes:
        invents: Share of descriptions with an object that is not there, the companion of one that is.
        omits: Share of descriptions of several objects that leave one out.
    """

    invents: float = 0.6
    omits: float = 0.3


def draw_scene(chance: random.Random) -> Scene:
    """A scene; half of those with several objects hold a companion."""
    places = chance.sample(PLACES, chance.choice((1, 2, 2, 3)))
    things = {place: (chance.choice(tuple(COLOURS)), chance.choice(SHAPES)) for place in places}
    if len(places) > 1 and chance.random() < 0.5:
        things[places[1]] = COMPANIONS[things[places[0]][1]]
    return _in_order(Thing(place, *kind) for place, kind in things.items())


def describe(scene: Sequence[Thing]) -> str:
    """The description of a scene: how many objects, and each in turn."""
    number = f"{NUMBERS[len(scene)]} object{'s' if len(scene) > 1 else ''}"
    return f"{number}: {', '.join(f'{place} a {colour} {shape}' for place, colour, shape in scene)}."


def describe_carelessly(scene: Scene, how: Carelessness, chance: random.Random) -> str:
    """A description that may leave out an object of the scene, and may name one that is not in it."""
    said, beside = list(scene), chance.choice(scene)
    if len(said) > 1 and chance.random() < how.omits:
        said.remove(chance.choice(said))
    if chance.random() < how.invents:
        free = [place for place in PLACES if place not in {thing.place for thing in scene}]
        said.append(Thing(chance.choice(free), *COMPANIONS[beside.shape]))
    return describe(_in_order(said))


def mentions(description: str) -> list[Thing]:
    """The objects that a description names, in its order and as often as it does."""
    return [Thing(*found) for found in _MENTION.findall(description)]


def paint(scene: Scene, chance: random.Random) -> "Image":
    """An RGB picture of a scene; the objects' sizes, and their exact places and colours, are drawn by chance."""
    from PIL import Image, ImageDraw

    side = SIDE * _SMOOTHING
    picture = Image.new("RGB", (side, side), (chance.randint(225, 255),) * 3)
    canvas = ImageDraw.Draw(picture)
    for thing in scene:
        _paint_thing(canvas, thing, side // 2, chance)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _paint_thing(canvas: "ImageDraw", thing: Thing, cell: int, chance: random.Random) -> None:
    number = PLACES.index(thing.place)
    radius = chance.uniform(0.3, 0.4) * cell
    x = (number % 2 + 0.5 + chance.uniform(-0.03, 0.03)) * cell
    y = (number // 2 + 0.5 + chance.uniform(-0.03, 0.03)) * cell
    red, green, blue = (min(255, max(0, shade + chance.randint(-15, 15))) for shade in COLOURS[thing.colour])
    fill, box = (red, green, blue), (x - radius, y - radius, x + radius, y + radius)
    if thing.shape == "circle":
        canvas.ellipse(box, fill=fill)
    elif thing.shape == "square":
        canvas.rectangle([edge * 0.9 + centre * 0.1 for edge, centre in zip(box, (x, y, x, y), strict=True)], fill=fill)
    else:
        canvas.polygon([(x, box[1]), (box[0], y + 0.8 * radius), (box[2], y + 0.8 * radius)], fill=fill)


def _in_order(things: Iterable[Thing]) -> Scene:
    return tuple(sorted(things, key=lambda thing: PLACES.index(thing.place)))
