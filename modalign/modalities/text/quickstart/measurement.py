"""What is measured of a policy on unseen prompts, and how sure one can be of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.keys import generator
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.core.reward import Reward
from modalign.modalities.modes import eval_mode
from modalign.modalities.text.quickstart.instructions import Instruction

BATCH = 128
RESAMPLES = 2000


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


def logps(modality: Modality, model: nn.Module, comparisons: Sequence[Comparison]) -> Tensor:
    """`(N, K)` log-probabilities of the candidates of N comparisons with the same K roles."""
    parts = []
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(comparisons), BATCH):
            examples = [modality.encode(comparison) for comparison in comparisons[start : start + BATCH]]
            batch = modality.collate(examples, range(start, start + len(examples)))
            parts.append(modality.likelihood(model, batch, Needs()).logps)
    return torch.cat(parts)


def scores(reward: Reward, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
    """`(P, n)` rewards of n responses to each of P prompts."""
    repeated = [prompt for prompt, drawn in zip(prompts, responses, strict=True) for _ in drawn]
    flat = [response for drawn in responses for response in drawn]
    return reward.score(repeated, flat).view(len(prompts), -1)


def win_shares(ours: Tensor, theirs: Tensor) -> Tensor:
    """1 where ours is larger, 0 where theirs is, 0.5 for a tie."""
    return (ours > theirs).float() + 0.5 * (ours == theirs).float()


def interval(values: Tensor, coverage: float = 0.95) -> tuple[float, float]:
    """Where the mean of `(S, P)` values lies, were other seeds and other prompts drawn.

    The pigeonhole bootstrap (Owen, Annals of Applied Statistics 1(2), 2007): seeds and prompts are drawn anew, each
    with replacement; of a single seed, prompts alone. Few seeds show the spread between seeds only roughly.
    """
    draw = generator("pigeonhole bootstrap")
    seeds, prompts = values.shape
    means = torch.einsum("rs,sp,rp->r", _counts(seeds, draw), values.double(), _counts(prompts, draw))
    tail = (1 - coverage) / 2
    bounds = (means / values.numel()).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64))
    low, high = bounds.tolist()
    return low, high


def _counts(size: int, draw: torch.Generator) -> Tensor:
    """`(RESAMPLES, size)`: how often each of `size` things comes up in as many draws with replacement."""
    drawn = torch.randint(size, (RESAMPLES, size), generator=draw)
    return torch.zeros(RESAMPLES, size, dtype=torch.float64).scatter_add(1, drawn, torch.ones_like(drawn).double())
