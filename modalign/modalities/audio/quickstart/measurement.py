"""What is measured of a policy: its sounds, and how it finds held-out pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from modalign.core.batch import Comparison
from modalign.core.modality import Modality
from modalign.modalities.audio.quickstart.judging import OrderJudge
from modalign.modalities.quickstart.estimates import win_shares
from modalign.modalities.quickstart.evaluation import logps


@dataclass(frozen=True)
class Measured:
    """One policy of one seed; averages over `(P,)` sounds or `(H,)` held-out pairs are left to the reader.

    Attributes:
        reward: `(P,)`, 1 where the events are heard in the caption's order.
        swapped: `(P,)`, 1 where they are heard in the reverse order.
        wins: `(P,)`, 1 where the reward is above that of the start's sound of the same noise, 0.5 for a tie.
        accuracy: `(H,)`, 1 where the chosen sound gained more log-likelihood than the rejected one, 0.5 for a tie.
        drift: `(H,)`, by how much the chosen sound's denoising error rose, as a share of the start's mean error.
        logps: `(H, 2)`, log-likelihoods of the chosen and the rejected sounds.
        distance: The Frechet distance of all sounds to generated ones.
        shown: The first sound of every caption.
        warnings: What the run warned of.
    """

    reward: Tensor
    swapped: Tensor
    wins: Tensor
    accuracy: Tensor
    drift: Tensor
    logps: Tensor
    distance: float
    shown: list[Any] = field(repr=False)
    warnings: Sequence[str] = ()

    @property
    def present(self) -> Tensor:
        """`(P,)`: 1 where both events are heard, in any order."""
        return self.reward + self.swapped

    def means(self) -> dict[str, float]:
        """The mean of everything measured, by name."""
        found = {
            name: values.mean().item()
            for name, values in vars(self).items()
            if isinstance(values, Tensor) and values.dim() == 1
        }
        return found | {"distance": self.distance}


@dataclass(frozen=True)
class Examination:
    """The same captions, noises and held-out pairs for every policy.

    Attributes:
        modality: Samples and computes likelihoods.
        captions: What is asked for.
        sounds: How many of each.
        seed: Of the noise that sounds start from.
        sampling: Options of the modality's `sample`.
        pairs: Held out.
        judge: Of order and likeness.
    """

    modality: Modality
    captions: Sequence[str]
    sounds: int
    seed: int
    sampling: Mapping[str, Any]
    pairs: Sequence[Comparison]
    judge: OrderJudge

    def measure(self, policy: nn.Module, start: Measured | None = None, warnings: Sequence[str] = ()) -> Measured:
        """Sample from a policy and measure it.

        Args:
            policy: The model.
            start: What was measured of the model before alignment; None where the policy is that model.
            warnings: What its run warned of.
        """
        made = self.modality.sample(policy, self.captions, n=self.sounds, seed=self.seed, **self.sampling)
        asked = [caption for caption in self.captions for _ in range(self.sounds)]
        sounds = [sound for each in made for sound in each]
        rewards = self.judge.score(asked, sounds)
        found = logps(self.modality, policy, self.pairs)
        before = found if start is None else start.logps
        gains = found - before
        return Measured(
            reward=rewards,
            swapped=self.judge.swapped(asked, sounds),
            wins=win_shares(rewards, rewards if start is None else start.reward),
            accuracy=win_shares(gains[:, 0], gains[:, 1]),
            drift=gains[:, 0] / before[:, 0].mean(),
            logps=found,
            distance=self.judge.distance(sounds),
            shown=[each[0] for each in made],
            warnings=list(warnings),
        )
