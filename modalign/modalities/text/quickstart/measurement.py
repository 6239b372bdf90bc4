"""What is measured of a policy on unseen prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.modality import Modality
from modalign.core.reward import Reward
from modalign.modalities.quickstart.estimates import win_shares
from modalign.modalities.quickstart.evaluation import logps, scores
from modalign.modalities.text.quickstart.instructions import Instruction


@dataclass(frozen=True)
class Measured:
    """One policy of one seed; averages over `(P,)` prompts or `(H,)` held-out pairs are left to the reader.

    Attributes:
        reward: `(P,)`, mean over the prompt's responses.
        wins: `(P,)`, share of responses that score higher than the start's, ties counted half.
        correct: `(P,)`, share of responses that answer the prompt.
        kl: `(P,)`, log-ratio to the start of the policy's own responses: in the mean, the KL divergence in nats.
        accuracy: `(H,)`, 1 where the chosen response gained more log-probability than the rejected one, 0.5 for a tie.
        drift: `(H,)`, what the chosen response gained.
        responses: For each prompt, what was sampled.
    """

    reward: Tensor
    wins: Tensor
    correct: Tensor
    kl: Tensor
    accuracy: Tensor
    drift: Tensor
    responses: list[list[str]] = field(repr=False)

    def means(self) -> dict[str, float]:
        """The mean of everything measured, by name."""
        return {name: values.mean().item() for name, values in vars(self).items() if isinstance(values, Tensor)}


@dataclass(frozen=True)
class Examination:
    """The same unseen prompts and held-out pairs for every policy of one seed.

    Attributes:
        modality: Samples and computes likelihoods.
        instructions: The P unseen prompts.
        pairs: H rows of `prompt`, `chosen` and `rejected` on unseen prompts.
        reward: The judge.
        start: The model before alignment.
        opponents: For each prompt, the start's responses that a policy must beat.
        seed: Of the policies' samples; not the one that the opponents were drawn by.
        sampling: Options of the modality's `sample`.
    """

    modality: Modality
    instructions: Sequence[Instruction]
    pairs: Sequence[dict[str, str]]
    reward: Reward
    start: nn.Module
    opponents: Sequence[Sequence[str]]
    seed: int
    sampling: Mapping[str, int]

    def measure(self, policy: nn.Module) -> Measured:
        """Sample from a policy and measure it."""
        prompts = [instruction.prompt for instruction in self.instructions]
        draws = len(self.opponents[0])
        responses = self.modality.sample(policy, prompts, n=draws, seed=self.seed, **self.sampling)
        rewards, theirs = (scores(self.reward, prompts, drawn) for drawn in (responses, self.opponents))
        correct = [
            [float(instruction.is_answered_by(response)) for response in drawn]
            for instruction, drawn in zip(self.instructions, responses, strict=True)
        ]
        comparisons = [
            Comparison(row["prompt"], (Candidate(row["chosen"], CHOSEN), Candidate(row["rejected"], REJECTED)))
            for row in self.pairs
        ]
        gains = logps(self.modality, policy, comparisons) - logps(self.modality, self.start, comparisons)
        return Measured(
            reward=rewards.mean(1),
            wins=win_shares(rewards, theirs).mean(1),
            correct=torch.tensor(correct).mean(1),
            kl=self._log_ratios(policy, prompts, responses),
            accuracy=win_shares(gains[:, 0], gains[:, 1]),
            drift=gains[:, 0],
            responses=responses,
        )

    def _log_ratios(self, policy: nn.Module, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
        """`(P,)`: the mean log-ratio of each prompt's responses; empty ones, which no modality encodes, count 0.

        Responses are tokenised anew, which gives the tokens that were drawn wherever the policy writes as its
        tokenizer would.
        """
        places = [(p, text) for p, drawn in enumerate(responses) for text in drawn if text]
        comparisons = [Comparison(prompts[p], (Candidate(text, CHOSEN),)) for p, text in places]
        ratios = logps(self.modality, policy, comparisons) - logps(self.modality, self.start, comparisons)
        index = torch.tensor([p for p, _ in places])
        return torch.zeros(len(prompts)).index_add(0, index, ratios[:, 0]) / len(responses[0])
