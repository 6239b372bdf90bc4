"""How long a run will be, known before Lightning has opened a loader."""

from dataclasses import dataclass

from lightning.pytorch import Trainer


@dataclass(frozen=True)
class RunLength:
    """A trainer's limits; without any, a run has no end.

    Attributes:
        max_steps: Optimiser steps; -1 for no limit.
        max_epochs: Passes over the training data; None or -1 for no limit.
        limit_train_batches: Batches an epoch, or a share of them as a float; None for all.
        accumulate: Batches an optimiser step; an epoch's last step may have fewer.
    """

    max_steps: int = -1
    max_epochs: int | None = None
    limit_train_batches: int | float | None = None
    accumulate: int = 1

    @classmethod
    def of(cls, trainer: Trainer) -> "RunLength":
        """A trainer's."""
        accumulate = int(trainer.accumulate_grad_batches)
        return cls(int(trainer.max_steps), trainer.max_epochs, trainer.limit_train_batches, accumulate)

    def epochs(self, loaded: int) -> int | None:
        """How many passes over the training data there are, the last one perhaps in part; None where there is no end.

        Args:
            loaded: Batches that the loader has for each rank, before `limit_train_batches`.
        """
        ends = [] if self.max_epochs is None or self.max_epochs < 0 else [self.max_epochs]
        if self.max_steps >= 0:
            ends.append(-(-self.max_steps // max(self._steps(loaded), 1)))
        return min(ends, default=None)

    def batches(self, epoch: int, loaded: int) -> int:
        """How many batches each rank trains on in an epoch.

        Args:
            epoch: Before the run's end.
            loaded: See `epochs`.
        """
        limited = self._limited(loaded)
        if self.max_steps < 0:
            return limited
        left = self.max_steps - epoch * self._steps(loaded)
        return max(0, min(limited, left * self.accumulate))

    def _limited(self, loaded: int) -> int:
        limit = self.limit_train_batches
        if limit is None:
            return loaded
        return int(loaded * limit) if isinstance(limit, float) else min(loaded, limit)

    def _steps(self, loaded: int) -> int:
        return -(-self._limited(loaded) // self.accumulate)


ENDLESS = RunLength()
