"""What is measured of a policy: its descriptions of unseen pictures, and how it finds held-out pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.modality import Modality
from modalign.modalities.quickstart.estimates import win_shares
from modalign.modalities.quickstart.evaluation import logps
from modalign.modalities.vision_language.prompts import Message, answer
from modalign.modalities.vision_language.quickstart.judging import judge
from modalign.modalities.vision_language.quickstart.preference import Pair
from modalign.modalities.vision_language.quickstart.world import Picture


@dataclass(frozen=True)
class Measured:
    """One policy of one seed; averages over `(P,)` pictures or `(H,)` held-out pairs are left to the reader.

    Attributes:
        mentioned: `(P,)`, objects that a description names; this and what follows is a mean over a picture's
            descriptions.
        invented: `(P,)`, those of them that are not in the picture.
        found: `(P,)`, objects of the picture that are named.
        there: `(P,)`, objects in the picture.
        wrong: `(P,)`, 1 for a description that invents anything.
        counted: `(P,)`, 1 where the number that it states is that of the picture.
        words: `(P,)`, its length.
        kl: `(P,)`, log-ratio to the start of the policy's own description, the first of a picture: in the mean, the KL
            divergence in nats.
        accuracy: `(H,)`, 1 where the chosen description gained more log-probability than the rejected one, 0.5 for a
            tie.
        drift: `(H,)`, what the chosen description gained.
        descriptions: For each picture, what was sampled.
    """

    mentioned: Tensor
    invented: Tensor
    found: Tensor
    there: Tensor
    wrong: Tensor
    counted: Tensor
    words: Tensor
    kl: Tensor
    accuracy: Tensor
    drift: Tensor
    descriptions: list[list[str]] = field(repr=False)

    @property
    def rate(self) -> float:
        """The hallucination rate: the share of mentioned objects that are not there; 0 where none is mentioned."""
        return (self.invented.sum() / self.mentioned.sum().clamp(min=1e-9)).item()

    @property
    def recall(self) -> float:
        """The share of the objects in the pictures that are named."""
        return (self.found.sum() / self.there.sum()).item()

    def means(self) -> dict[str, float]:
        """Everything measured, by name."""
        named = ("wrong", "counted", "words", "kl", "accuracy", "drift")
        return {"rate": self.rate, "recall": self.recall} | {name: getattr(self, name).mean().item() for name in named}


@dataclass(frozen=True)
class Examination:
    """The same unseen pictures and held-out pairs for every policy of one seed.

    Attributes:
        modality: Samples and computes likelihoods.
        pictures: The P unseen pictures.
        pairs: The H held-out pairs.
        start: The model before alignment.
        folder: That of the demonstration.
        samples: Descriptions a picture.
        seed: Of the samples.
        sampling: Options of the modality's `sample`.
    """

    modality: Modality
    pictures: Sequence[Picture]
    pairs: Sequence[Pair]
    start: nn.Module
    folder: Path
    samples: int
    seed: int
    sampling: Mapping[str, int]

    def measure(self, policy: nn.Module) -> Measured:
        """Sample from a policy and measure it."""
        prompts = [picture.prompt(self.folder) for picture in self.pictures]
        descriptions = describe_all(self.modality, policy, prompts, self.samples, self.seed, self.sampling)
        judged = [[judge(text, p.scene) for text in each] for p, each in zip(self.pictures, descriptions, strict=True)]
        names = ("mentioned", "invented", "found", "there", "counted", "words")
        values = {
            name: torch.tensor([[float(getattr(one, name)) for one in each] for each in judged]).mean(1)
            for name in names
        }
        wrong = torch.tensor([[float(one.invented > 0) for one in each] for each in judged]).mean(1)
        gains = self._gains(policy, [_comparison(pair, self.folder) for pair in self.pairs])
        return Measured(
            **values,
            wrong=wrong,
            kl=self._log_ratios(policy, prompts, descriptions),
            accuracy=win_shares(gains[:, 0], gains[:, 1]),
            drift=gains[:, 0],
            descriptions=descriptions,
        )

    def _gains(self, policy: nn.Module, comparisons: Sequence[Comparison]) -> Tensor:
        """`(N, K)`: log-probabilities under the policy, less those under the start."""
        after, before = (logps(self.modality, model, comparisons) for model in (policy, self.start))
        return after - before

    def _log_ratios(
        self, policy: nn.Module, prompts: Sequence[list[Message]], descriptions: Sequence[Sequence[str]]
    ) -> Tensor:
        """`(P,)`: the log-ratio of each picture's first description; an empty one, which cannot be scored, counts 0.

        Descriptions are tokenised anew, which gives the tokens that were drawn wherever the policy writes as its
        tokenizer would.
        """
        places = [(p, drawn[0]) for p, drawn in enumerate(descriptions) if drawn[0].strip()]
        ratios = torch.zeros(len(prompts))
        if places:
            comparisons = [Comparison(prompts[p], (Candidate(answer(text), CHOSEN),)) for p, text in places]
            ratios[[p for p, _ in places]] = self._gains(policy, comparisons)[:, 0]
        return ratios


def describe_all(
    modality: Modality,
    model: nn.Module,
    prompts: Sequence[list[Message]],
    n: int,
    seed: int,
    sampling: Mapping[str, int],
) -> list[list[str]]:
    """`n` descriptions for each request, as text."""
    drawn = modality.sample(model, prompts, n=n, seed=seed, **sampling)
    return [[response[0]["content"] for response in each] for each in drawn]


def _comparison(pair: Pair, folder: Path) -> Comparison:
    candidates = Candidate(answer(pair.chosen), CHOSEN), Candidate(answer(pair.rejected), REJECTED)
    return Comparison(pair.picture.prompt(folder), candidates)
