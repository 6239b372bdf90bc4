"""The preference that the model is aligned to, and pairs that say it: two responses of the model itself, ranked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import Any, ClassVar

from torch import Tensor

from modalign.core.reward import Reward
from modalign.modalities.text.quickstart.instructions import OPENINGS
from modalign.plugins.manager import registry

WORDS = 6
STATEMENT = f"An answer opens with a courtesy ({', '.join(OPENINGS['polite'])}) and has about {WORDS} words."


class PoliteAndBrief(Reward):
    """1 for a courtesy at the start, less the distance from six words as a share of six; 1 is perfect.

    The sum of the registered rewards `pattern` and `length`. It does not ask whether the answer is correct.
    """

    name: ClassVar[str] = "polite_and_brief"
    modalities: ClassVar[frozenset[str]] = frozenset({"text"})

    def __init__(self) -> None:
        courtesies = "|".join(OPENINGS["polite"])
        self._polite: Reward = registry().load("reward", "pattern")(expression=f"^({courtesies})")
        self._brief: Reward = registry().load("reward", "length")(target=WORDS)

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        return self._polite.score(prompts, candidates) + self._brief.score(prompts, candidates)


@dataclass(frozen=True)
class Pairs:
    """Ranked pairs of responses.

    Attributes:
        rows: Of `prompt`, `chosen` and `rejected`.
        chosen_reward: The mean reward of the chosen responses; NaN where there are none.
        ties: Groups of responses left out, because all of them scored the same.
        empty: Responses left out, because there is nothing in them to learn.
    """

    rows: list[dict[str, str]]
    chosen_reward: float
    ties: int
    empty: int


def rank(prompts: Sequence[str], responses: Sequence[Sequence[str]], size: int, reward: Reward) -> Pairs:
    """The best and the worst of every group of responses to a prompt, the first among equals.

    Args:
        prompts: What was asked.
        responses: To each prompt, one or more groups, one after another.
        size: Responses a group.
        reward: The judge.
    """
    rows: list[dict[str, str]] = []
    rewards: list[float] = []
    ties = empty = 0
    for prompt, group in _groups(prompts, responses, size):
        usable = [response for response in group if response.strip()]
        empty += len(group) - len(usable)
        scores = reward.score([prompt] * len(usable), usable).tolist()
        if len(set(scores)) < 2:
            ties += 1
            continue
        best, worst = scores.index(max(scores)), scores.index(min(scores))
        rows.append({"prompt": prompt, "chosen": usable[best], "rejected": usable[worst]})
        rewards.append(scores[best])
    return Pairs(rows, fmean(rewards) if rewards else nan, ties, empty)


def _groups(
    prompts: Sequence[str], responses: Sequence[Sequence[str]], size: int
) -> Iterator[tuple[str, Sequence[str]]]:
    for prompt, drawn in zip(prompts, responses, strict=True):
        for start in range(0, len(drawn), size):
            yield prompt, drawn[start : start + size]
