"""What is right and wrong in a description of a known scene."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modalign.modalities.vision_language.quickstart.scenes import NUMBERS, Scene, Thing, mentions


@dataclass(frozen=True)
class Judged:
    """One description, held against its scene.

    Attributes:
        mentioned: How many objects it names, repetitions counted.
        invented: How many of these are not in the scene with this colour, shape and place.
        found: How many of the scene's objects it names.
        there: How many objects the scene has.
        counted: Whether the number that it states is that of the scene.
        words: Its words.
    """

    mentioned: int
    invented: int
    found: int
    there: int
    counted: bool
    words: int

    @property
    def missed(self) -> int:
        """How many of the scene's objects it does not name."""
        return self.there - self.found

    @property
    def mistakes(self) -> int:
        """Objects invented and objects missed."""
        return self.invented + self.missed


def judge(description: str, scene: Scene) -> Judged:
    """Hold a description against its scene."""
    said: Sequence[Thing] = mentions(description)
    return Judged(
        mentioned=len(said),
        invented=sum(thing not in scene for thing in said),
        found=len(set(said) & set(scene)),
        there=len(scene),
        counted=description.strip().startswith(f"{NUMBERS[len(scene)]} object"),
        words=len(description.split()),
    )


def hallucination_rate(judged: Iterable[Judged]) -> float:
    """The share of mentioned objects that are not there (CHAIR_i of Rohrbach et al., EMNLP 2018); 0 without any."""
    each = list(judged)
    return sum(one.invented for one in each) / max(1, sum(one.mentioned for one in each))
