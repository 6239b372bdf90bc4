"""The preference that the model is aligned to, and data that says it: pictures of the model itself, ranked."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from modalign.core.keys import key_seed
from modalign.core.modality import Modality
from modalign.core.reward import Reward

REWARD = "brightness"
STATEMENT = "A digit is written in bold strokes: the brighter the picture, the better (reward `brightness`)."


@dataclass(frozen=True)
class Ranked:
    """One list of pictures of the same caption.

    Attributes:
        prompt: The caption.
        images: Where the pictures are, from the folder of the data file.
        scores: What the reward says of each.
    """

    prompt: str
    images: tuple[str, ...]
    scores: tuple[float, ...]

    def as_list(self) -> dict[str, Any]:
        """A row of the format `image_ranked`."""
        return {"prompt": self.prompt, "images": list(self.images), "scores": list(self.scores)}

    def as_pair(self) -> dict[str, str]:
        """A row of the format `image_pairs`: the best and the worst, the first among equals."""
        chosen, rejected = (self.images[self.scores.index(pick(self.scores))] for pick in (max, min))
        return {"prompt": self.prompt, "chosen": chosen, "rejected": rejected}


@dataclass(frozen=True)
class Preferences:
    """Ranked lists of a model's own pictures.

    Attributes:
        train: To train on.
        held_out: To measure implicit accuracy and drift by.
        ties: Lists left out, because all of their pictures scored the same.
    """

    train: Sequence[Ranked]
    held_out: Sequence[Ranked]
    ties: int

    @property
    def chosen_reward(self) -> float:
        """The mean reward of the best picture of every list that is trained on."""
        return fmean(max(ranked.scores) for ranked in self.train)


def rank_own(
    modality: Modality,
    prompts: Sequence[str],
    drawn: Sequence[Sequence[Any]],
    size: int,
    held_out: int,
    reward: Reward,
    folder: Path,
) -> Preferences:
    """Rank pictures in lists, and write each as a PNG.

    Args:
        modality: Writes pictures.
        prompts: What was asked.
        drawn: To each prompt, the pictures of one list after another.
        size: Pictures a list.
        held_out: How many of each prompt's lists are held out, the first ones.
        reward: The judge.
        folder: Where the pictures go; data files that name them stand beside it.
    """
    folder.mkdir(parents=True)
    train, kept_back, ties = list[Ranked](), list[Ranked](), 0
    for prompt, number, pictures in _lists(prompts, drawn, size):
        scores = tuple(reward.score([prompt] * size, pictures).tolist())
        if len(set(scores)) < 2:
            ties += 1
            continue
        stems = [f"{prompt.replace(' ', '-')}-{number:02d}-{place}" for place in range(size)]
        files = [modality.save(picture, folder / stem) for picture, stem in zip(pictures, stems, strict=True)]
        images = tuple(f"{folder.name}/{file.name}" for file in files if file is not None)
        (kept_back if number < held_out else train).append(Ranked(prompt, images, scores))
    return Preferences(train, kept_back, ties)


def shuffled_scores(rows: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The same lists, which picture has which score decided by chance."""
    chance = random.Random(key_seed(seed, "coin"))
    return [row | {"scores": chance.sample(row["scores"], len(row["scores"]))} for row in rows]


def _lists(
    prompts: Sequence[str], drawn: Sequence[Sequence[Any]], size: int
) -> Iterator[tuple[str, int, Sequence[Any]]]:
    """Each prompt with the number of one of its lists and the pictures in it."""
    for prompt, pictures in zip(prompts, drawn, strict=True):
        for number in range(len(pictures) // size):
            yield prompt, number, pictures[number * size : (number + 1) * size]
