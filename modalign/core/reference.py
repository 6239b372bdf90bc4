"""Where reference likelihoods come from. Placeholder contract; implementations follow."""

from abc import ABC, abstractmethod

from torch import nn

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs


class Reference(ABC):
    """Given a batch, the reference's likelihood."""

    @abstractmethod
    def likelihood(self, modality: Modality, policy: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        """The reference's likelihood of each cell, without gradient."""
