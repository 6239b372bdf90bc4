"""Generated scenes with descriptions, as LLaVA's instruction data, for tests of building data."""

import json
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square")
PLACES = ("left", "right")


def scene(draw: Random, side: int = 32) -> tuple[Image.Image, str]:
    """A picture of one shape on grey of some level, and what it shows."""
    colour, shape, place = draw.choice(COLOURS), draw.choice(SHAPES), draw.choice(PLACES)
    level = draw.randrange(160, 256)
    picture = Image.new("RGB", (side, side), (level, level, level))
    corner = draw.randrange(1, 4) + (side // 2 if place == "right" else 0)
    box = (corner, side // 4, corner + side // 3, side // 4 + side // 3)
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=colour)
    return picture, f"The picture shows a {colour} {shape} on the {place}."


def write_scenes(folder: Path, count: int, seed: int = 0) -> Path:
    """`count` rows of LLaVA's schema with their pictures beside them."""
    draw = Random(seed)
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for number in range(count):
        picture, text = scene(draw)
        picture.save(folder / "pictures" / f"{number}.png")
        turns = [{"from": "human", "value": "<image>\nWhat is in the image?"}, {"from": "gpt", "value": text}]
        rows.append(json.dumps({"id": number, "image": f"pictures/{number}.png", "conversations": turns}))
    path = folder / "scenes.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path
