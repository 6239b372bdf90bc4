"""All pictures of the demonstration on disk, and what each is for."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modalign.core.keys import key_seed
from modalign.core.media import Media
from modalign.modalities.quickstart.stages import write_rows
from modalign.modalities.vision_language.prompts import Message, question
from modalign.modalities.vision_language.quickstart.plan import Plan
from modalign.modalities.vision_language.quickstart.scenes import PROMPT, Scene, describe_carelessly, draw_scene, paint


@dataclass(frozen=True)
class Picture:
    """A picture whose scene is known.

    Attributes:
        path: Its file, from the folder of the demonstration.
        scene: What is in it.
    """

    path: str
    scene: Scene

    def prompt(self, folder: Path) -> list[Message]:
        """The request to describe it."""
        return question(PROMPT, [Media(str(folder / self.path))])


@dataclass(frozen=True)
class World:
    """The pictures; no picture has two uses.

    Attributes:
        described: To learn from, with careless descriptions.
        ranked: To align by.
        held_out: To measure implicit accuracy and drift by.
        unseen: To measure descriptions by.
        descriptions: Rows of the format `vision_demonstration`, one for each of `described`.
    """

    described: Sequence[Picture]
    ranked: Sequence[Picture]
    held_out: Sequence[Picture]
    unseen: Sequence[Picture]
    descriptions: Sequence[dict[str, str]]


def make_world(plan: Plan, folder: Path, seed: int) -> World:
    """Draw and write the pictures, `descriptions.jsonl` to learn from, and `scenes.jsonl` with what is in each.

    Args:
        plan: How many pictures of each kind.
        folder: Where to.
        seed: Decides scenes, pictures and descriptions.
    """
    chance = random.Random(key_seed(seed, "world"))
    (folder / "pictures").mkdir(parents=True)
    rest = iter([_picture(number, folder, chance) for number in range(plan.pictures)])
    kinds = {
        kind: [next(rest) for _ in range(getattr(plan, kind))] for kind in ("described", "ranked", "held_out", "unseen")
    }
    rows = [
        {
            "prompt": PROMPT,
            "completion": describe_carelessly(picture.scene, plan.carelessness, chance),
            "image": picture.path,
        }
        for picture in kinds["described"]
    ]
    write_rows(rows, folder / "descriptions.jsonl")
    scenes = ({"image": p.path, "for": kind, "objects": p.scene} for kind, each in kinds.items() for p in each)
    write_rows(scenes, folder / "scenes.jsonl")
    return World(**kinds, descriptions=rows)


def _picture(number: int, folder: Path, chance: random.Random) -> Picture:
    picture = Picture(f"pictures/{number:04d}.png", draw_scene(chance))
    paint(picture.scene, chance).save(folder / picture.path)
    return picture
