"""What is measured of a policy: its pictures, and how it finds held-out pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.batch import Comparison
from modalign.core.modality import Modality
from modalign.core.reward import Reward
from modalign.modalities.image.quickstart.digits import DigitJudge, contrasts
from modalign.modalities.quickstart.estimates import win_shares
from modalign.modalities.quickstart.evaluation import logps, scores


@dataclass(frozen=True)
class Measured:
    """One policy of one seed; averages over `(P,)` pictures or `(H,)` held-out pairs are left to the reader.

    Attributes:
        reward: `(P,)`, of each picture.
        wins: `(P,)`, 1 where it scores higher than the start's picture of the same noise, 0.5 for a tie.
        fidelity: `(P,)`, 1 where the judge reads the digit that was asked for.
        contrast: `(P,)`, the standard deviation of its shades.
        accuracy: `(H,)`, 1 where the chosen picture gained more log-likelihood than the rejected one, 0.5 for a tie.
        drift: `(H,)`, by how much the chosen picture's denoising error rose, as a share of the start's.
        distance: The Frechet distance of all pictures to the real digits.
        shown: The first picture of every caption.
    """

    reward: Tensor
    wins: Tensor
    fidelity: Tensor
    contrast: Tensor
    accuracy: Tensor
    drift: Tensor
    distance: float
    shown: list[Any] = field(repr=False)

    def means(self) -> dict[str, float]:
        """The mean of everything measured, by name."""
        found = {name: values.mean().item() for name, values in vars(self).items() if isinstance(values, Tensor)}
        return found | {"distance": self.distance}


@dataclass(frozen=True)
class Examination:
    """The same captions, noises and held-out pairs for every policy.

    Attributes:
        modality: Samples and computes likelihoods.
        captions: What is asked for.
        pictures: How many of each.
        seed: Of the noise that pictures start from.
        sampling: Options of the modality's `sample`.
        pairs: Held out.
        start: The model before alignment.
        reward: The judge of the preference.
        judge: The judge of everything else.
    """

    modality: Modality
    captions: Sequence[str]
    pictures: int
    seed: int
    sampling: Mapping[str, Any]
    pairs: Sequence[Comparison]
    start: nn.Module
    reward: Reward
    judge: DigitJudge

    def measure(self, policy: nn.Module, start_rewards: Tensor | None = None) -> Measured:
        """Sample from a policy and measure it.

        Args:
            policy: The model.
            start_rewards: `(P,)`, the rewards of the start's own pictures; None where the policy is the start.
        """
        drawn = self.modality.sample(policy, self.captions, n=self.pictures, seed=self.seed, **self.sampling)
        rewards = scores(self.reward, self.captions, drawn).flatten()
        wanted = [caption for caption in self.captions for _ in range(self.pictures)]
        pictures = [picture for each in drawn for picture in each]
        read = self.judge.read(pictures)
        before, after = (logps(self.modality, model, self.pairs) for model in (self.start, policy))
        gains = after - before
        return Measured(
            reward=rewards,
            wins=win_shares(rewards, rewards if start_rewards is None else start_rewards),
            fidelity=torch.tensor([float(found == asked) for found, asked in zip(read, wanted, strict=True)]),
            contrast=torch.from_numpy(contrasts(pictures)).float(),
            accuracy=win_shares(gains[:, 0], gains[:, 1]),
            drift=gains[:, 0] / before[:, 0],
            distance=self.judge.distance(pictures),
            shown=[each[0] for each in drawn],
        )
