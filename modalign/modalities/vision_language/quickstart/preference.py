"""The preference that the model is aligned to, and pairs that say it: two descriptions of the model itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import normalize

from modalign.core.media import Media
from modalign.core.modality import Modality
from modalign.modalities.image.decoding import decode_image
from modalign.modalities.vision_language.build.embedders import PolicyEmbedder
from modalign.modalities.vision_language.build.neighbours import rank_neighbours
from modalign.modalities.vision_language.build.search import open_search
from modalign.modalities.vision_language.quickstart.judging import Judged, hallucination_rate, judge
from modalign.modalities.vision_language.quickstart.scenes import PROMPT
from modalign.modalities.vision_language.quickstart.world import Picture

STATEMENT = "A description names what is in the picture: the fewer objects it invents or leaves out, the better."

_NEAREST = 10
_AT_ONCE = 256


@dataclass(frozen=True)
class Pair:
    """Two descriptions of a picture by the model itself.

    Attributes:
        picture: The picture.
        chosen: The one with fewer mistakes.
        rejected: The other one.
        neighbour: A similar picture of another scene.
    """

    picture: Picture
    chosen: str
    rejected: str
    neighbour: Picture

    def row(self, to_pictures: str) -> dict[str, str]:
        """A row of the format `realign`.

        Args:
            to_pictures: The way from the folder of the row's file to that of the demonstration.
        """
        return {
            "prompt": PROMPT,
            "chosen": self.chosen,
            "rejected": self.rejected,
            "image": f"{to_pictures}/{self.picture.path}",
            "retrieved_image": f"{to_pictures}/{self.neighbour.path}",
        }


@dataclass(frozen=True)
class Pairs:
    """Pairs of a model's own descriptions.

    Attributes:
        train: To train on.
        held_out: On other pictures, to measure implicit accuracy and drift by.
        ties: Pictures left out, because all of their descriptions have equally many mistakes.
    """

    train: Sequence[Pair]
    held_out: Sequence[Pair]
    ties: int

    @property
    def chosen_rate(self) -> float:
        """The hallucination rate of the chosen descriptions that are trained on."""
        return hallucination_rate(judge(pair.chosen, pair.picture.scene) for pair in self.train)

    @property
    def rejected_rate(self) -> float:
        """The same for the rejected ones."""
        return hallucination_rate(judge(pair.rejected, pair.picture.scene) for pair in self.train)


def best_and_worst(picture: Picture, descriptions: Sequence[str]) -> tuple[str, str] | None:
    """The description with the fewest mistakes and the one with the most, each the first among equals.

    Those that name nothing are left out; None where the others have equally many.
    """
    judged: list[tuple[str, Judged]] = [(text, judge(text, picture.scene)) for text in descriptions]
    usable = [(text, found.mistakes) for text, found in judged if found.mentioned]
    if len({mistakes for _, mistakes in usable}) < 2:
        return None
    best, worst = (pick(usable, key=lambda one: one[1])[0] for pick in (min, max))
    return best, worst


def pair_up(
    pictures: Sequence[Picture], descriptions: Sequence[Sequence[str]], neighbours: Sequence[Picture]
) -> Iterator[Pair]:
    """A pair of every picture whose descriptions differ in their mistakes.

    Args:
        pictures: What was described.
        descriptions: Of each, several.
        neighbours: Of each, a similar one.
    """
    for picture, texts, neighbour in zip(pictures, descriptions, neighbours, strict=True):
        found = best_and_worst(picture, texts)
        if found is not None:
            yield Pair(picture, *found, neighbour)


def retrieve(modality: Modality, model: nn.Module, pictures: Sequence[Picture], folder: Path) -> list[Picture]:
    """For each picture the one most similar to it, by the features that the model's own tower makes.

    Pictures of the same scene are passed over, as long as there are others among the nearest: what describes one of
    them describes the other as well.

    Args:
        modality: The model's.
        model: Has the tower.
        pictures: At least two.
        folder: That of the demonstration.
    """
    embedder = PolicyEmbedder(modality, lambda: model)
    images = [decode_image(Media(str(folder / picture.path))) for picture in pictures]
    parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
    with torch.inference_mode():
        vectors = normalize(torch.cat([embedder.vectors(part) for part in parts]), dim=-1).numpy()
    ranked = rank_neighbours(open_search(vectors, "blocked", torch.device("cpu")), _NEAREST, (-1.0, 1.01))
    found = []
    for number, picture in enumerate(pictures):
        near = [pictures[other] for other, _ in ranked.of(number)]
        found.append(next((other for other in near if other.scene != picture.scene), near[0]))
    return found
