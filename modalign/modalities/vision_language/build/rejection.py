"""The rejected responses: what the policy says under a neighbour of the image, if it differs enough from the chosen."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.modality import Modality
from modalign.modalities.vision_language.build.asking import Asking
from modalign.modalities.vision_language.build.demonstrations import Demonstration
from modalign.modalities.vision_language.build.masking import BLANK
from modalign.modalities.vision_language.build.text_similarity import TextSimilarity
from modalign.modalities.vision_language.prompts import Message

ACCEPTED = "accepted"
Sample = Callable[[Sequence[Any]], list[list[Any]]]


@dataclass(frozen=True)
class Sampling:
    """How the policy is sampled.

    Attributes:
        modality: Of the policy.
        policy: Gives it; called when it is first needed.
        seed: With a prompt and its image, decides the response.
        options: Of the modality.
    """

    modality: Modality
    policy: Callable[[], nn.Module]
    seed: int
    options: Mapping[str, Any]

    def answers(self, prompts: Sequence[list[Message]]) -> "list[str | RowError]":
        """A response to each prompt, or why the modality cannot take it.

        Space around a response is dropped: a policy trained on pairs would learn to tell them by it.
        """
        try:
            return [_text(drawn) for (drawn,) in self._drawn(prompts)]
        except RowError as error:
            if len(prompts) == 1:
                return [error]
            return [answer for prompt in prompts for answer in self.answers([prompt])]

    def _drawn(self, prompts: Sequence[list[Message]]) -> list[list[Any]]:
        with torch.no_grad():
            return self.modality.sample(self.policy(), prompts, n=1, seed=self.seed, **self.options)


@dataclass
class Case:
    """A demonstration on the way to its rejected response.

    Attributes:
        demonstration: With its chosen response.
        neighbours: Files and similarities of its image's neighbours, in the order in which they are tried.
        rank: Of the neighbour that was accepted, from 0; None where none was.
        rejected: The response under it.
        text_similarity: Of the rejected to the chosen response.
        tried: What became of the responses that were sampled.
        failure: Why nothing could be asked.
    """

    demonstration: Demonstration
    neighbours: Sequence[tuple[Media, float]]
    rank: int | None = None
    rejected: str = ""
    text_similarity: float = 0.0
    tried: "Counter[str]" = field(default_factory=Counter)
    failure: str = ""

    @property
    def reason(self) -> str:
        """Why there is no rejected response; rows are counted by what stands before its first colon."""
        if self.failure:
            return self.failure
        return "no answer accepted: " + ", ".join(f"{count} {what}" for what, count in self.tried.most_common())


@dataclass(frozen=True)
class Rejection:
    """Makes rejected responses.

    Attributes:
        asking: What the policy is asked.
        sampling: How it answers.
        similarity: Compares its answers to the chosen responses.
        accept_below: Answers as similar as this, or more, are not accepted.
    """

    asking: Asking
    sampling: Sampling
    similarity: TextSimilarity
    accept_below: float

    def run(self, cases: Sequence[Case]) -> None:
        """Try each case's neighbours in their order until an answer is accepted; all cases' n-th ones at once.

        What becomes of a case depends on it alone, up to the rounding of a batch of another size.
        """
        waiting = list(cases)
        rank = 0
        while waiting:
            waiting = [case for case in waiting if self._can_try(case, rank)]
            if waiting:
                self._try(waiting, rank)
            waiting = [case for case in waiting if case.rank is None and not case.failure]
            rank += 1

    def _can_try(self, case: Case, rank: int) -> bool:
        if not case.neighbours:
            case.failure = "no other image is as similar as --similarity asks"
        elif rank == 0 and self.asking.prompt(case.demonstration, case.neighbours[0][0]) is None:
            case.failure = "the chosen response has no word to blank"
        return not case.failure and rank < len(case.neighbours)

    def _try(self, cases: Sequence[Case], rank: int) -> None:
        prompts = [self.asking.prompt(case.demonstration, case.neighbours[rank][0]) or [] for case in cases]
        answers = self.sampling.answers(prompts)
        texts = [answer if isinstance(answer, str) else "" for answer in answers]
        cosines = self.similarity.cosines([case.demonstration.chosen for case in cases], texts)
        for case, answer, cosine in zip(cases, answers, cosines, strict=True):
            if isinstance(answer, RowError):
                case.failure = answer.message
                continue
            verdict = self._verdict(case.demonstration.chosen, answer, cosine)
            case.tried[verdict] += 1
            if verdict == ACCEPTED:
                case.rank, case.rejected, case.text_similarity = rank, answer, cosine

    def _verdict(self, chosen: str, answer: str, cosine: float) -> str:
        if not answer:
            return "empty"
        if answer.count(BLANK) > chosen.count(BLANK):
            return "with blanks left"
        if answer.split() == chosen.split():
            return "the same as the chosen"
        return ACCEPTED if cosine < self.accept_below else "too similar to the chosen"


def _text(response: Any) -> str:
    text = response if isinstance(response, str) else str(response[0]["content"])
    return text.strip()
